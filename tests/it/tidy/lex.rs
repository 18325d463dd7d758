//! Cuts Rust into words, marks and literals; comments and what literals hold are gone.

/// A piece of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    /// As written. A literal's text is its whole source; no law looks into it.
    pub(super) text: &'a str,
    /// Line of its first character, from 1 on.
    pub(super) line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An identifier or a keyword.
    Word,
    /// `::`, or one character of punctuation.
    Mark,
    /// A string, character, number or lifetime.
    Literal,
}

/// The tokens of `text`, which need not be valid Rust.
pub(super) fn lex(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (length, kind) = measure(rest, first);
        let (piece, tail) = rest.split_at(length);
        if let Some(kind) = kind {
            tokens.push(Token { kind, text: piece, line });
        }
        line += piece.matches('\n').count();
        rest = tail;
    }
    tokens
}

/// The length in bytes of what `rest` starts with, and its kind unless it is space or a comment.
fn measure(rest: &str, first: char) -> (usize, Option<Kind>) {
    if first.is_whitespace() {
        return (first.len_utf8(), None);
    }
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), None);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), None);
    }
    if let Some(length) = string(rest).or_else(|| quote(rest)) {
        return (length, Some(Kind::Literal));
    }
    if first.is_ascii_digit() {
        return (run(rest, is_word), Some(Kind::Literal));
    }
    if is_word(first) {
        let raw = if rest.starts_with("r#") { 2 } else { 0 };
        return (raw + run(&rest[raw..], is_word), Some(Kind::Word));
    }
    (if rest.starts_with("::") { 2 } else { first.len_utf8() }, Some(Kind::Mark))
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn run(text: &str, wanted: impl Fn(char) -> bool) -> usize {
    text.find(|c| !wanted(c)).unwrap_or(text.len())
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the string literal at the start of `text`, plain or raw, with any prefix.
fn string(text: &str) -> Option<usize> {
    let body = text.strip_prefix(['b', 'c']).unwrap_or(text);
    if let Some(raw) = body.strip_prefix('r') {
        let hashes = run(raw, |c| c == '#');
        let content = raw[hashes..].strip_prefix('"')?;
        let close = format!("\"{}", "#".repeat(hashes));
        let length = content.find(&close).map_or(content.len(), |at| at + close.len());
        return Some(text.len() - content.len() + length);
    }
    let content = body.strip_prefix('"')?;
    Some(text.len() - content.len() + until(content, b'"'))
}

/// The length of the character literal or lifetime at the start of `text`.
fn quote(text: &str) -> Option<usize> {
    let content = text.strip_prefix('b').unwrap_or(text).strip_prefix('\'')?;
    let opened = text.len() - content.len();
    let mut chars = content.chars();
    let first = chars.next()?;
    if first == '\\' || chars.next() == Some('\'') {
        return Some(opened + until(content, b'\''));
    }
    Some(opened + run(content, is_word))
}

/// The length up to and with the first `close` that no backslash escapes.
fn until(content: &str, close: u8) -> usize {
    let mut bytes = content.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        if byte == b'\\' {
            bytes.next();
        } else if byte == close {
            return at + 1;
        }
    }
    content.len()
}

#[cfg(test)]
mod tests {
    use super::{Kind, lex};

    fn words(text: &str) -> Vec<&str> {
        lex(text).into_iter().filter(|token| token.kind == Kind::Word).map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_literals_hold_no_words() {
        assert_eq!(words("a // b\nc /* d /* e */ f */ g"), ["a", "c", "g"]);
        assert_eq!(words(r#"a "b \" c" d b"e" f c"g""#), ["a", "d", "f"]);
        assert_eq!(words(r####"a r"b\" c r#"d " e"# f br##"g "# h"## i"####), ["a", "c", "f", "i"]);
        assert_eq!(words(r"a 'b' c '\'' d '\u{1f}' e b'f' 'g h '\\' i"), ["a", "c", "d", "e", "h", "i"]);
        assert_eq!(words("r#type rest b br 1_u8 0xab 'static"), ["r#type", "rest", "b", "br"]);
        assert_eq!(words("a \"b"), ["a"], "an open literal runs to the end");
    }

    #[test]
    fn lines_are_counted_through_comments_and_literals() {
        let text = "a\n/* b\n\n*/ c\n\"d\n\" e";
        let lines: Vec<_> =
            lex(text).iter().filter(|t| t.kind == Kind::Word).map(|t| (t.text, t.line)).collect();
        assert_eq!(lines, [("a", 1), ("c", 4), ("e", 6)]);
    }
}
