//! A template's text before it is parsed: line ends as Jinja has them, the tags that the engine
//! does not know, and the bounds that keep its recursive parser from overflowing the stack.

/// The longest template; those of well-known models stay below 32 KiB.
pub const MAX_LENGTH: usize = 1 << 20;
/// Most operators, names and brackets that one expression may chain and nest.
const MAX_CHAIN: usize = 3000;
/// Most blocks, `elif` included, that may be nested.
const MAX_BLOCKS: usize = 500;

/// The text for the engine, or why it is refused.
pub fn prepare(template: &str) -> Result<String, String> {
    if template.len() > MAX_LENGTH {
        return Err(format!("longer than {MAX_LENGTH} bytes"));
    }
    let source = template.replace("\r\n", "\n").replace('\r', "\n");
    let mut reader = Reader { source: &source, at: 0, out: String::new(), blocks: Vec::new() };
    reader.read()?;
    Ok(reader.out)
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
    out: String,
    blocks: Vec<usize>, // of each open block: its branches
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    /// Takes over the next `n` bytes.
    fn copy(&mut self, n: usize) {
        self.out.push_str(&self.source[self.at..self.at + n]);
        self.at += n;
    }

    /// Takes over everything up to and with `mark`; false when there is none.
    fn copy_behind(&mut self, mark: &str) -> bool {
        match self.rest().find(mark) {
            Some(found) => {
                self.copy(found + mark.len());
                true
            }
            None => {
                self.copy(self.rest().len());
                false
            }
        }
    }

    fn read(&mut self) -> Result<(), String> {
        while let Some(brace) = self.rest().find('{') {
            self.copy(brace);
            match self.rest().as_bytes().get(1) {
                Some(b'#') => {
                    self.copy_behind("#}");
                }
                Some(b'{') => self.expression("}}")?,
                Some(b'%') => self.tag()?,
                _ => self.copy(1),
            }
        }
        self.copy(self.rest().len());
        Ok(())
    }

    fn tag(&mut self) -> Result<(), String> {
        let rest = self.rest();
        let inside = rest[2..].trim_start_matches(['-', '+']).trim_start();
        let name_at = rest.len() - inside.len();
        let name = inside.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
        self.count_block(name)?;
        match name {
            // marks what the assistant says, for training; a scope of its own
            "generation" | "endgeneration" => {
                self.copy(name_at);
                self.out.push_str(if name == "generation" { "with" } else { "endwith" });
                self.at += name.len();
                return self.expression_from(0, "%}");
            }
            "raw" => {
                self.copy_behind("%}");
                // up to its end tag, which may carry dashes and white space
                while let Some(open) = self.rest().find("{%") {
                    self.copy(open);
                    let inside = self.rest()[2..].trim_start_matches(['-', '+']).trim_start();
                    if inside.starts_with("endraw") {
                        break;
                    }
                    self.copy(2);
                }
            }
            _ => {}
        }
        self.expression("%}")
    }

    fn count_block(&mut self, name: &str) -> Result<(), String> {
        match name {
            "if" | "for" | "macro" | "call" | "filter" | "with" | "block" | "autoescape"
            | "generation" => self.blocks.push(1),
            "elif" => *self.blocks.last_mut().unwrap_or(&mut 0) += 1,
            _ if name.starts_with("end") => {
                self.blocks.pop();
            }
            _ => {}
        }
        if self.blocks.iter().sum::<usize>() > MAX_BLOCKS {
            return Err("blocks are nested too deep".into());
        }
        Ok(())
    }

    /// Up to `end`, which does not count within a string or brackets.
    fn expression(&mut self, end: &str) -> Result<(), String> {
        self.expression_from(2, end)
    }

    fn expression_from(&mut self, skipped: usize, end: &str) -> Result<(), String> {
        let source = self.source;
        let mut at = self.at + skipped;
        let mut chains = vec![0]; // by open bracket: what has been chained since the last comma
        let mut in_word = false;
        while at < source.len() {
            let byte = source.as_bytes()[at];
            if chains.len() == 1 && source[at..].starts_with(end) {
                at += end.len();
                break;
            }
            let is_word = byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
            let continues = is_word && in_word;
            in_word = is_word;
            match byte {
                b'\'' | b'"' => at = string_end(source, at),
                b'(' | b'[' | b'{' => chains.push(1),
                b')' | b']' | b'}' if chains.len() > 1 => {
                    chains.pop();
                    *chains.last_mut().expect("one is left") += 1;
                }
                b',' => *chains.last_mut().expect("one is left") = 0,
                _ if byte.is_ascii_whitespace() || continues => {}
                _ => *chains.last_mut().expect("one is left") += 1,
            }
            if matches!(byte, b'(' | b'[' | b'{') || !continues {
                if chains.iter().sum::<usize>() > MAX_CHAIN {
                    return Err("an expression is nested too deep".into());
                }
            }
            at = (at + 1).min(source.len());
            while !source.is_char_boundary(at) {
                at += 1;
            }
        }
        self.copy(at.min(source.len()) - self.at);
        Ok(())
    }
}

/// Where the string that begins at `at` has its closing quote.
fn string_end(source: &str, at: usize) -> usize {
    let bytes = source.as_bytes();
    let quote = bytes[at];
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != quote {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    end.min(bytes.len())
}
