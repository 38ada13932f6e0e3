//! What the C interfaces of all rooms share: texts that come in, and words that go out.

/// Bytes that need not end with NUL; data NULL: absent.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Text {
    data: *const u8,
    length: usize,
}

pub struct NotUtf8;

impl From<&[u8]> for Text {
    fn from(bytes: &[u8]) -> Text {
        Text { data: bytes.as_ptr(), length: bytes.len() }
    }
}

impl Text {
    /// # Safety
    /// The bytes stay where they are for `'a`.
    pub unsafe fn bytes<'a>(self) -> Option<&'a [u8]> {
        match self.data.is_null() {
            true => None,
            false => Some(std::slice::from_raw_parts(self.data, self.length)),
        }
    }

    /// # Safety
    /// As for `bytes`.
    pub unsafe fn get<'a>(self) -> Result<Option<&'a str>, NotUtf8> {
        self.bytes().map(std::str::from_utf8).transpose().map_err(|_| NotUtf8)
    }
}

/// # Safety
/// As C's: `n` items at `data`, which may be NULL when there are none.
pub unsafe fn items<'a, T>(data: *const T, n: usize) -> &'a [T] {
    match n {
        0 => &[],
        _ => std::slice::from_raw_parts(data, n),
    }
}

/// Ends with NUL, cut between characters where it is too long.
pub fn write_message(message: &mut [u8], words: &str) {
    let mut n = words.len().min(message.len() - 1);
    while !words.is_char_boundary(n) {
        n -= 1;
    }
    message[..n].copy_from_slice(&words.as_bytes()[..n]);
    message[n] = 0;
}
