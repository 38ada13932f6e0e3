//! One reply on its way through a grammar.
use std::sync::Arc;

use llguidance::api::StopReason;
use llguidance::toktrie::{SimpleVob, TokenId};
use llguidance::Matcher;

use super::grammar::Grammar;
use super::names::{Names, Quotes};
use super::Failure;

pub struct State {
    start: Arc<Matcher>,
    matcher: Matcher,
    accepted: Vec<TokenId>,
    quotes: Option<Arc<Quotes>>, // of a JSON text, whose names are looked at; else None
    names: Names,
}

impl State {
    /// With caches of its own, so that no other reply's work counts in this one's limits.
    pub fn new(grammar: &Grammar) -> State {
        let start = Arc::clone(&grammar.start);
        let quotes = grammar.quotes.clone();
        State {
            matcher: start.deep_clone(),
            start,
            accepted: Vec::new(),
            quotes,
            names: Names::default(),
        }
    }

    pub fn mask(&mut self) -> Result<SimpleVob, Failure> {
        let mask = self.matcher.compute_mask_or_eos();
        let mut mask = mask.map_err(|_| self.failure())?;
        if let Some(quotes) = self.quotes.clone() {
            self.restrict(&quotes, &mut mask);
        }
        Ok(mask)
    }

    /// No name twice, nor what could only become one.
    fn restrict(&mut self, quotes: &Quotes, mask: &mut SimpleVob) {
        self.names.restrict(quotes, mask);
        for token in self.names.all_but_ended(quotes) {
            if mask.is_allowed(token) && mask.num_set() > 1 && !self.has_way_on(quotes, token) {
                mask.disallow_token(token);
            }
        }
    }

    fn has_way_on(&mut self, quotes: &Quotes, token: TokenId) -> bool {
        let mut names = self.names.clone();
        names.add(quotes, token);
        let mut next = match self.matcher.consume_token(token) {
            Ok(()) => self.matcher.compute_mask_or_eos().ok(),
            Err(_) => None,
        };
        let has = next.as_mut().is_some_and(|mask| names.restrict(quotes, mask));
        let done = match self.matcher.is_error() {
            true => self.start_again(),
            false => self.matcher.rollback(1).map_err(|_| self.failure()),
        };
        has || done.is_err() // what fails here fails again at the next mask
    }

    pub fn accept(&mut self, token: i32) -> Result<(), Failure> {
        let accepted = self.matcher.consume_token(token as TokenId);
        accepted.map_err(|_| self.failure())?;
        self.accepted.push(token as TokenId);
        if let Some(quotes) = &self.quotes {
            self.names.add(quotes, token as TokenId);
        }
        Ok(())
    }

    /// Also what failed after the tokens that are taken back is undone.
    pub fn rollback(&mut self, n: usize) -> Result<(), Failure> {
        self.accepted.truncate(self.accepted.len().saturating_sub(n));
        if let Some(quotes) = &self.quotes {
            self.names = Names::default();
            self.accepted.iter().for_each(|token| self.names.add(quotes, *token));
        }
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
