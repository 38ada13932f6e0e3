//! No object of a reply has a name twice, which no grammar can say where names are not listed.
use std::collections::HashSet;
use std::sync::Arc;

use llguidance::toktrie::{SimpleVob, TokEnv, TokTrie, TokenId};

/// The tokens that can end a name, because they have a quotation mark.
pub struct Quotes {
    environment: TokEnv,
    tokens: Vec<(TokenId, usize)>, // and how many marks they have
}

impl Quotes {
    pub fn new(environment: &TokEnv) -> Quotes {
        let trie = environment.tok_trie();
        let count = |id: TokenId| trie.token(id).iter().filter(|b| **b == b'"').count();
        let tokens = (0..trie.vocab_size() as TokenId).map(|id| (id, count(id)));
        Quotes { tokens: tokens.filter(|(_, n)| *n > 0).collect(), environment: environment.clone() }
    }

    fn bytes(&self, token: TokenId) -> &[u8] {
        match self.environment.tok_trie().token(token) {
            [TokTrie::SPECIAL_TOKEN_MARKER, ..] => &[],
            bytes => bytes,
        }
    }
}

/// Where in a JSON text a reply is.
#[derive(Clone, Default)]
pub struct Names {
    open: Vec<Option<Arc<HashSet<String>>>>, // of each object its names; None: an array
    text: Option<Vec<u8>>,                   // of the text that is being written, its bytes
    is_escaped: bool,
    expects_name: bool,
    is_twice: bool,
}

impl Names {
    pub fn add(&mut self, quotes: &Quotes, token: TokenId) {
        quotes.bytes(token).iter().for_each(|byte| self.step(*byte));
    }

    fn step(&mut self, byte: u8) {
        match (&mut self.text, byte) {
            (Some(_), b'"') if !self.is_escaped => self.end_text(),
            (Some(text), _) => {
                text.push(byte);
                self.is_escaped = byte == b'\\' && !self.is_escaped;
            }
            (None, b'"') => self.text = Some(Vec::new()),
            (None, b'{') => {
                self.open.push(Some(Arc::default()));
                self.expects_name = true;
            }
            (None, b'[') => self.open.push(None),
            (None, b'}' | b']') => {
                self.open.pop();
                self.expects_name = false;
            }
            (None, b',') => self.expects_name = matches!(self.open.last(), Some(Some(_))),
            (None, b':') => self.expects_name = false,
            _ => {}
        }
    }

    fn end_text(&mut self) {
        let text = self.text.take().unwrap_or_default();
        let Some(Some(names)) = self.open.last_mut().filter(|_| self.expects_name) else { return };
        let quoted = [b"\"", &text[..], b"\""].concat();
        let name =
            serde_json::from_slice(&quoted).unwrap_or_else(|_| String::from_utf8_lossy(&text).into());
        match names.contains(&name) {
            true => self.is_twice = true,
            false => drop(Arc::make_mut(names).insert(name)),
        }
        self.expects_name = false;
    }

    /// Marks that a token needs to end a name from here.
    fn marks_needed(&self) -> usize {
        match (&self.text, self.expects_name) {
            (Some(_), true) => 1,
            (None, _) => 2,
            (Some(_), false) => 3,
        }
    }

    /// Takes out what would write a name a second time. False: nothing else may follow; the mask is left.
    pub fn restrict(&self, quotes: &Quotes, mask: &mut SimpleVob) -> bool {
        if !self.open.iter().flatten().any(|names| !names.is_empty()) {
            return true;
        }
        let needed = self.marks_needed();
        let rests = self.rests();
        let able = quotes.tokens.iter().filter(|(id, marks)| {
            *marks >= needed && mask.is_allowed(*id) && self.may_end(quotes.bytes(*id), *marks, &rests)
        });
        let twice: Vec<TokenId> =
            able.map(|(id, _)| *id).filter(|id| self.is_twice_with(quotes, *id)).collect();
        let is_possible = twice.len() < mask.num_set();
        if is_possible {
            twice.iter().for_each(|id| mask.disallow_token(*id));
        }
        is_possible
    }

    /// Tokens after which a name that stands there already would be there but for its end.
    pub fn all_but_ended(&self, quotes: &Quotes) -> Vec<TokenId> {
        let trie = quotes.environment.tok_trie();
        self.rests().into_iter().filter(|x| !x.is_empty()).filter_map(|x| trie.token_id(x)).collect()
    }

    /// What is missing of names that stand there already to the one that is being written.
    fn rests(&self) -> Vec<&[u8]> {
        match (&self.text, self.open.last()) {
            (Some(text), Some(Some(names))) if self.expects_name => {
                names.iter().filter_map(|name| name.as_bytes().strip_prefix(&text[..])).collect()
            }
            _ => Vec::new(),
        }
    }

    /// False: certainly not one that stands there already. Saves looking closer at thousands of tokens.
    fn may_end(&self, bytes: &[u8], marks: usize, rests: &[&[u8]]) -> bool {
        let Some(text) = self.text.as_ref().filter(|_| self.expects_name) else { return true };
        let rest = bytes.split(|b| *b == b'"').next().unwrap_or_default();
        marks > 2 || text.contains(&b'\\') || rest.contains(&b'\\') || rests.contains(&rest)
    }

    fn is_twice_with(&self, quotes: &Quotes, token: TokenId) -> bool {
        let mut after = Names { is_twice: false, ..self.clone() };
        after.add(quotes, token);
        after.is_twice
    }
}
