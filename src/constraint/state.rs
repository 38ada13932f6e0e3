//! One reply on its way through a grammar.
use std::sync::Arc;

use llguidance::api::StopReason;
use llguidance::toktrie::{SimpleVob, TokenId};
use llguidance::Matcher;

use super::grammar::Grammar;
use super::Failure;

pub struct State {
    start: Arc<Matcher>,
    matcher: Matcher,
    accepted: Vec<TokenId>,
}

impl State {
    /// With caches of its own, so that no other reply's work counts in this one's limits.
    pub fn new(grammar: &Grammar) -> State {
        let start = Arc::clone(&grammar.start);
        State { matcher: start.deep_clone(), start, accepted: Vec::new() }
    }

    pub fn mask(&mut self) -> Result<SimpleVob, Failure> {
        let mask = self.matcher.compute_mask_or_eos();
        mask.map_err(|_| self.failure())
    }

    pub fn accept(&mut self, token: i32) -> Result<(), Failure> {
        let accepted = self.matcher.consume_token(token as TokenId);
        accepted.map_err(|_| self.failure())?;
        self.accepted.push(token as TokenId);
        Ok(())
    }

    /// Also what failed after the tokens that are taken back is undone.
    pub fn rollback(&mut self, n: usize) -> Result<(), Failure> {
        self.accepted.truncate(self.accepted.len().saturating_sub(n));
        if self.matcher.is_error() {
            return self.start_again();
        }
        let done = self.matcher.rollback(n);
        done.map_err(|_| self.failure())
    }

    /// A matcher that has failed stays so; another one is brought to where it was.
    fn start_again(&mut self) -> Result<(), Failure> {
        self.matcher = self.start.deep_clone();
        let consumed = self.matcher.consume_tokens(&self.accepted);
        consumed.map_err(|_| self.failure())
    }

    pub fn count_valid(&mut self, tokens: &[i32]) -> usize {
        let tokens: Vec<TokenId> = tokens.iter().map(|x| *x as TokenId).collect();
        let n = self.matcher.validate_tokens(&tokens).unwrap_or(0);
        self.forgive();
        n
    }

    pub fn forced(&mut self) -> Vec<TokenId> {
        if self.matcher.is_stopped() {
            return Vec::new();
        }
        let tokens = self.matcher.compute_ff_tokens();
        self.forgive();
        tokens
    }

    /// Guesses must not change what is said: one that failed leaves no trace.
    fn forgive(&mut self) {
        if self.matcher.is_error() {
            let _ = self.start_again(); // what fails here fails again at the next mask
        }
    }

    pub fn is_complete(&self) -> bool {
        self.matcher.is_stopped() && !self.matcher.is_error()
    }

    fn failure(&self) -> Failure {
        let words = self.matcher.get_error().unwrap_or_default();
        let reason = words.split("\n<").next().unwrap_or_default().trim().to_owned();
        match self.matcher.stop_reason() {
            StopReason::LexerTooComplex | StopReason::ParserTooComplex => Failure::Limit(reason),
            StopReason::NoExtensionBias => {
                Failure::Limit("it has come to a rule that no text matches".into())
            }
            _ if words.starts_with("panic") => Failure::Failed("the grammar engine failed".into()),
            _ => Failure::Failed(reason),
        }
    }
}
