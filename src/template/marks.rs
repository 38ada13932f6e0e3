//! Which characters of a prompt came from the request.
//!
//! To know whose text a special token's text is, a conversation is rendered a second time with the
//! request's own characters marked: each is replaced by one of a private-use plane, `c` by
//! `plane + c`. Everything in this library that looks at text looks at the plain characters behind
//! the marks and copies the marked ones, so a template takes the same way through both renderings;
//! that the second without its marks equals the first is checked, not assumed (render.rs).
use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;

/// The private-use planes; one that neither the request nor the template uses is taken.
pub const PLANES: [u32; 2] = [0xF0000, 0x100000];

thread_local! {
    static PLANE: Cell<u32> = const { Cell::new(0) }; // 0: nothing is marked
}

/// Marks are understood until this is dropped.
pub struct Marking(());

impl Marking {
    pub fn begin(plane: u32) -> Marking {
        PLANE.set(plane);
        Marking(())
    }
}

impl Drop for Marking {
    fn drop(&mut self) {
        PLANE.set(0);
    }
}

/// A plane that none of the text's characters lie in, or None.
pub fn is_in_plane(text: &str, plane: u32) -> bool {
    // the first byte of planes 15 and 16 in UTF-8
    let lead = if plane == PLANES[0] { 0xF3 } else { 0xF4 };
    text.as_bytes().contains(&lead) && text.chars().any(|c| c as u32 >> 16 == plane >> 16)
}

pub fn mark(c: char, plane: u32) -> char {
    match c as u32 {
        code @ 0..=0xFFFD => char::from_u32(plane + code).unwrap_or(c),
        _ => c, // no special token's text has characters beyond the first plane
    }
}

fn without(c: char, plane: u32) -> char {
    let code = c as u32;
    if plane != 0 && code >> 16 == plane >> 16 {
        char::from_u32(code - plane).unwrap_or(c)
    } else {
        c
    }
}

pub fn is_marked(c: char) -> bool {
    without(c, PLANE.get()) != c
}

/// The character behind a mark, or the character itself.
pub fn unmark(c: char) -> char {
    without(c, PLANE.get())
}

/// `c` marked as `like` is.
pub fn mark_like(c: char, like: char) -> char {
    if is_marked(like) {
        mark(c, PLANE.get())
    } else {
        c
    }
}

/// The text without marks.
pub fn plain(text: &str) -> Cow<'_, str> {
    let plane = PLANE.get();
    if plane == 0 || !is_in_plane(text, plane) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| without(c, plane)).collect())
}

/// A text as it is copied (`shown`) and as it is looked at (`plain`): the same number of
/// characters.
pub struct Text<'a> {
    pub shown: &'a str,
    pub plain: Cow<'a, str>,
}

impl<'a> Text<'a> {
    pub fn new(shown: &'a str) -> Text<'a> {
        Text { shown, plain: plain(shown) }
    }

    /// What stands in `shown` where `range` (bytes) lies in `plain`.
    pub fn cut(&self, range: Range<usize>) -> &'a str {
        if let Cow::Borrowed(_) = self.plain {
            return &self.shown[range];
        }
        let before = self.plain[..range.start].chars().count();
        let within = self.plain[range].chars().count();
        let mut places = self.shown.char_indices().map(|x| x.0).chain([self.shown.len()]);
        let begin = places.nth(before).unwrap_or(self.shown.len());
        let end = match within {
            0 => begin,
            n => places.nth(n - 1).unwrap_or(self.shown.len()),
        };
        &self.shown[begin..end]
    }
}
