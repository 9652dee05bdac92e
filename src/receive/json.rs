//! A pull reader of JSON for foreign input: no tree, no recursion of its own, nothing refused that a
//! reader can skip. Errors name the byte.
//!
//! serde_json is not used here: it refuses requests for nesting past 127 levels in parts nobody
//! reads, and OTLP/JSON wants numbers and strings taken for one another.

use std::borrow::Cow;
use std::fmt;

/// What is wrong, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonError {
    pub(crate) what: &'static str,
    pub(crate) offset: usize,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.offset)
    }
}

/// What a value begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// A position in a JSON text.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

type Result<T> = std::result::Result<T, JsonError>;

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Reader<'a> {
        // Some senders write a byte order mark.
        let at = if text.starts_with(b"\xef\xbb\xbf") {
            3
        } else {
            0
        };
        Reader { text, at }
    }

    pub(crate) const fn error<T>(&self, what: &'static str) -> Result<T> {
        Err(JsonError {
            what,
            offset: self.at,
        })
    }

    fn blank(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.blank();
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    /// What comes next; nothing is read but blanks.
    pub(crate) fn peek(&mut self) -> Result<Next> {
        self.blank();
        match self.text.get(self.at) {
            Some(b'n') => Ok(Next::Null),
            Some(b't' | b'f') => Ok(Next::Bool),
            Some(b'"') => Ok(Next::String),
            Some(b'[') => Ok(Next::Array),
            Some(b'{') => Ok(Next::Object),
            Some(b'-' | b'0'..=b'9') => Ok(Next::Number),
            Some(_) => self.error("a JSON value was expected"),
            None => self.error("the JSON ends too early"),
        }
    }

    /// The end of the text.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.blank();
        if self.at < self.text.len() {
            return self.error("there is more after the JSON value");
        }
        Ok(())
    }

    /// Reads an object, calling `each` with every key before its value, which it must read. `null`
    /// is an empty object.
    pub(crate) fn object(
        &mut self,
        mut each: impl FnMut(&mut Reader<'a>, &str) -> Result<()>,
    ) -> Result<()> {
        match self.peek()? {
            Next::Null => return self.null(),
            Next::Object => self.at += 1,
            _ => return self.error("an object was expected"),
        }
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            self.blank();
            if self.text.get(self.at) != Some(&b'"') {
                return self.error("a key in quotes was expected");
            }
            let key = self.string()?;
            if !self.take(b':') {
                return self.error("a colon was expected");
            }
            each(self, &key)?;
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.error("a comma or the end of the object was expected");
            }
        }
    }

    /// Reads an array, calling `each` before every element, which it must read. `null` is an empty
    /// array.
    pub(crate) fn array(
        &mut self,
        mut each: impl FnMut(&mut Reader<'a>) -> Result<()>,
    ) -> Result<()> {
        match self.peek()? {
            Next::Null => return self.null(),
            Next::Array => self.at += 1,
            _ => return self.error("an array was expected"),
        }
        if self.take(b']') {
            return Ok(());
        }
        loop {
            each(self)?;
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.error("a comma or the end of the array was expected");
            }
        }
    }

    pub(crate) fn null(&mut self) -> Result<()> {
        self.word(b"null")
    }

    fn word(&mut self, word: &[u8]) -> Result<()> {
        self.blank();
        if !self.text[self.at..].starts_with(word) {
            return self.error("a JSON value was expected");
        }
        self.at += word.len();
        Ok(())
    }

    pub(crate) fn bool(&mut self) -> Result<bool> {
        self.blank();
        let value = self.text.get(self.at) == Some(&b't');
        self.word(if value { b"true" } else { b"false" })?;
        Ok(value)
    }

    /// A number as it is written.
    pub(crate) fn number(&mut self) -> Result<&'a str> {
        self.blank();
        let is_part = |b: &&u8| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let len = self.text[self.at..].iter().take_while(is_part).count();
        let number = &self.text[self.at..self.at + len];
        if len == 0 {
            return self.error("a number was expected");
        }
        self.at += len;
        Ok(std::str::from_utf8(number).expect("digits and signs are ASCII"))
    }

    /// A string, borrowed when nothing in it is escaped. Lone surrogates and bytes that are not
    /// UTF-8 become U+FFFD.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>> {
        self.blank();
        if self.text.get(self.at) != Some(&b'"') {
            return self.error("a string was expected");
        }
        self.at += 1;
        let start = self.at;
        let Some(len) = memchr::memchr2(b'"', b'\\', &self.text[start..]) else {
            return self.error("a string does not end");
        };
        self.at += len;
        if self.text[self.at] == b'"' {
            self.at += 1;
            return Ok(String::from_utf8_lossy(&self.text[start..start + len]));
        }
        let mut out = self.text[start..self.at].to_vec();
        loop {
            let rest = &self.text[self.at..];
            let Some(len) = memchr::memchr2(b'"', b'\\', rest) else {
                return self.error("a string does not end");
            };
            out.extend_from_slice(&rest[..len]);
            self.at += len + 1;
            if rest[len] == b'"' {
                let text = String::from_utf8(out);
                let text = text.unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into());
                return Ok(Cow::Owned(text));
            }
            self.escape(&mut out)?;
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let Some(&byte) = self.text.get(self.at) else {
            return self.error("a string does not end");
        };
        self.at += 1;
        out.push(match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut code = self.hex4()?;
                if (0xd800..0xdc00).contains(&code) && self.text[self.at..].starts_with(b"\\u") {
                    let before = self.at;
                    self.at += 2;
                    let low = self.hex4()?;
                    if (0xdc00..0xe000).contains(&low) {
                        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    } else {
                        self.at = before;
                    }
                }
                let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return self.error("an unknown escape"),
        });
        Ok(())
    }

    fn hex4(&mut self) -> Result<u32> {
        let digits = self.text.get(self.at..self.at + 4);
        let digits = digits.and_then(|d| std::str::from_utf8(d).ok());
        let code = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
        let Some(code) = code else {
            return self.error("\\u needs four hexadecimal digits");
        };
        self.at += 4;
        Ok(code)
    }

    /// Passes over any value, however deep, without recursion.
    pub(crate) fn skip(&mut self) -> Result<()> {
        // One bit per open container would do for correctness of brackets; a count and the check
        // of tokens is enough to find the end of a value nobody reads.
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                Next::Null => self.null()?,
                Next::Bool => _ = self.bool()?,
                Next::Number => _ = self.number()?,
                Next::String => _ = self.string()?,
                Next::Array | Next::Object => {
                    self.at += 1;
                    depth += 1;
                }
            }
            loop {
                self.blank();
                match self.text.get(self.at) {
                    Some(b']' | b'}') if depth > 0 => {
                        self.at += 1;
                        depth -= 1;
                    }
                    Some(b',' | b':') if depth > 0 => self.at += 1,
                    _ => break,
                }
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_unescape() {
        let text = br#" "a\"\\\/\b\f\n\r\t\u00e9\ud83e\udd80\ud800x" "#;
        let expect = "a\"\\/\u{8}\u{c}\n\r\t\u{e9}\u{1f980}\u{fffd}x";
        let mut reader = Reader::new(text);
        assert_eq!(reader.string().expect("a string"), expect);
        reader.end().expect("the end");
    }

    #[test]
    fn anything_can_be_skipped() {
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        for text in [
            deep.as_str(),
            r#"{"a":[1,{"b":null}],"c":"]}"}"#,
            "-1.5e3",
            "true",
            "[]",
        ] {
            let mut reader = Reader::new(text.as_bytes());
            reader.skip().expect(text);
            reader.end().expect(text);
        }
    }

    #[test]
    fn errors_name_the_byte() {
        for (text, what, offset) in [
            ("", "the JSON ends too early", 0),
            ("{\"a\":}", "a JSON value was expected", 5),
            ("{\"a\" 1}", "a colon was expected", 5),
            ("{a:1}", "a key in quotes was expected", 1),
            (
                "{\"a\":1 \"b\"",
                "a comma or the end of the object was expected",
                7,
            ),
            ("{\"a\":\"x", "a string does not end", 6),
            ("{\"a\":\"\\x\"", "an unknown escape", 8),
        ] {
            let read = Reader::new(text.as_bytes()).object(|reader, _| reader.skip());
            assert_eq!(read, Err(JsonError { what, offset }), "{text}");
        }
    }
}
