//! A model's tokens as llguidance wants them: a trie of their bytes, and a tokenizer.
use std::ffi::c_void;

use std::sync::Arc;

use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use llguidance::ParserFactory;

use super::names::Quotes;
use super::{grammar, Failure};
use crate::base::foreign::{items, Text};

pub struct Word<'a> {
    pub text: &'a [u8],
    pub is_special: bool,
}

pub type Sink = unsafe extern "C" fn(*mut c_void, *const i32, usize);
pub type Encode = unsafe extern "C" fn(*const c_void, Text, Sink, *mut c_void);

pub struct Vocabulary {
    pub factory: ParserFactory,
    pub quotes: Arc<Quotes>,
}

/// The model's own tokenizer, so that a text that must follow is told by the tokens that the model
/// knows it by.
struct Tokenizer {
    trie: TokTrie,
    encode: Encode,
    context: *const c_void,
}

// SAFETY: constraint.h wants `encode` to work on any thread.
unsafe impl Send for Tokenizer {}
// SAFETY: as above; the trie is read-only.
unsafe impl Sync for Tokenizer {}

/// Marks special tokens in the trie: no UTF-8 text has this byte.
const MARK: u8 = TokTrie::SPECIAL_TOKEN_MARKER;

fn trie_word(word: &Word) -> Vec<u8> {
    match word.is_special {
        true if word.text.is_empty() => Vec::new(),
        true => [&[MARK], word.text].concat(),
        // one with the byte could be taken for a special token
        false if word.text.contains(&MARK) => Vec::new(),
        false => word.text.to_vec(),
    }
}

impl Vocabulary {
    pub fn new(
        words: Vec<Word>,
        ends: &[i32],
        encode: Encode,
        context: *const c_void,
    ) -> Result<Vocabulary, Failure> {
        let n = words.len();
        let ends: Vec<TokenId> = ends.iter().map(|x| *x as TokenId).collect();
        if ends.is_empty() || ends.iter().any(|x| *x as usize >= n) {
            return Err(Failure::Refused("the model has no token that ends a reply".into()));
        }
        let bytes: Vec<Vec<u8>> = words.iter().map(trie_word).collect();
        let trie = TokTrie::from(&TokRxInfo::new(n as u32, ends[0]), &bytes).with_eos_tokens(&ends);
        let environment: TokEnv = Arc::new(Tokenizer { trie, encode, context });
        let slices = SlicedBiasComputer::general_slices();
        let mut factory =
            ParserFactory::new(&environment, InferenceCapabilities::default(), &slices)
                .map_err(|error| Failure::Failed(error.to_string()))?;
        factory.set_stderr_log_level(0).set_buffer_log_level(0);
        *factory.limits_mut() = grammar::limits();
        Ok(Vocabulary { factory, quotes: Arc::new(Quotes::new(&environment)) })
    }
}

unsafe extern "C" fn take_ids(sink: *mut c_void, ids: *const i32, n: usize) {
    let taken = &mut *sink.cast::<Vec<TokenId>>();
    taken.extend(items(ids, n).iter().map(|x| *x as TokenId));
}

impl TokenizerEnv for Tokenizer {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, text: &[u8]) -> Vec<TokenId> {
        let mut ids: Vec<TokenId> = Vec::new();
        // SAFETY: the callee gives the ids within the call, as constraint.h says.
        unsafe {
            (self.encode)(self.context, Text::from(text), take_ids, (&raw mut ids).cast());
        }
        // a tokenizer may have no word for a byte, or no memory
        match self.trie.decode_raw(&ids) == text {
            true => ids,
            false => self.trie.greedy_tokenize(text),
        }
    }
}
