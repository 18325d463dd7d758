//! A source file as the laws see it: tokens, the module that each stands in, and the paths it names.

use super::lex::{Kind, Token, lex};

/// One file.
pub(super) struct Source<'a> {
    /// Relative to the crate's root, with `/`.
    pub(super) file: &'a str,
    pub(super) lines: usize,
    pub(super) tokens: Vec<Token<'a>>,
    /// Whether each token belongs to tests only.
    test: Vec<bool>,
    /// For each token, the modules it stands in: the file's, then those opened in it.
    scopes: Vec<Vec<String>>,
}

/// A path named in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    /// From the crate's root where `ours`, else from another crate's name.
    pub(super) segments: Vec<String>,
    pub(super) ours: bool,
    pub(super) line: usize,
    pub(super) test: bool,
}

impl Named {
    /// Whether the path is another crate's `prefix`, or something in it.
    pub(super) fn is_foreign(&self, prefix: &str) -> bool {
        let mut segments = self.segments.iter();
        !self.ours && prefix.split("::").all(|wanted| segments.next().is_some_and(|found| found == wanted))
    }
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &'a str, text: &'a str) -> Self {
        let tokens = lex(text);
        let all_test = !file.starts_with("src/") || file.ends_with("tests.rs") || file.contains("/tests/");
        let test = if all_test { vec![true; tokens.len()] } else { test_only(&tokens) };
        let scopes = scopes(&tokens, &module_of(file));
        Self { file, lines: text.lines().count(), tokens, test, scopes }
    }

    /// The library's module that the file belongs to; none for the crate's root, binaries and tests.
    pub(super) fn module(&self) -> Vec<String> {
        module_of(self.file)
    }

    /// Whether the text of the token at `at` is `text`, and it is no literal.
    pub(super) fn is(&self, at: usize, text: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.kind != Kind::Literal && token.text == text)
    }

    /// Every word, with its position.
    pub(super) fn words(&self) -> impl Iterator<Item = (usize, Token<'a>)> + '_ {
        self.tokens.iter().copied().enumerate().filter(|(_, token)| token.kind == Kind::Word)
    }

    /// Every path of two segments or more, and every name that a `use` brings in, groups taken apart.
    pub(super) fn paths(&self) -> Vec<Named> {
        let mut named = Vec::new();
        for (at, token) in self.words() {
            let used =
                at > 0 && (self.is(at - 1, "use") || self.is(at - 1, "crate") && self.is(at - 2, "extern"));
            let inner = at > 0 && (self.is(at - 1, "::") || self.is(at - 1, "$"));
            if inner || !(used || self.is(at + 1, "::")) {
                continue;
            }
            let mut found = Vec::new();
            self.tree(at, &mut Vec::new(), &mut found);
            for segments in found {
                if let Some((segments, ours)) = self.resolve(at, segments) {
                    named.push(Named { segments, ours, line: token.line, test: self.test[at] });
                }
            }
        }
        named
    }

    /// Takes the tree of paths at `at` apart, and returns where it ends.
    fn tree(&self, mut at: usize, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
        let depth = prefix.len();
        while self.tokens.get(at).is_some_and(|token| token.kind == Kind::Word) {
            prefix.push(self.tokens[at].text.to_owned());
            at += 1;
            let goes_on = self.is(at, "::")
                && (self.is(at + 1, "{")
                    || self.is(at + 1, "*")
                    || self.tokens.get(at + 1).is_some_and(|token| token.kind == Kind::Word));
            if !goes_on {
                break;
            }
            at += 1;
        }
        if self.is(at, "{") && prefix.len() > depth {
            at = self.group(at + 1, prefix, found);
        } else if prefix.len() > depth {
            if prefix.last().is_some_and(|last| last == "self") && prefix.len() > 1 {
                prefix.pop();
            }
            found.push(prefix.clone());
        }
        prefix.truncate(depth);
        at
    }

    /// Takes the members of a group apart, the first of which is at `at`, and returns where it ends.
    fn group(&self, mut at: usize, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
        while at < self.tokens.len() && !self.is(at, "}") {
            let before = at;
            at = self.tree(at, prefix, found);
            if self.is(before, "*") {
                found.push(prefix.clone());
            }
            // Skips commas, stars and `as NAME`.
            while at < self.tokens.len() && !self.is(at, ",") && !self.is(at, "}") {
                at += 1;
            }
            if self.is(at, ",") {
                at += 1;
            }
        }
        at + 1
    }

    /// Turns `crate`, `self` and `super` into a path from the crate's root.
    fn resolve(&self, at: usize, segments: Vec<String>) -> Option<(Vec<String>, bool)> {
        let mut base = match segments[0].as_str() {
            "crate" => Vec::new(),
            "self" | "super" => self.scopes[at].clone(),
            _ => return Some((segments, false)),
        };
        let mut rest = segments.into_iter().peekable();
        while let Some(step) = rest.next_if(|step| ["crate", "self", "super"].contains(&step.as_str())) {
            if step == "super" {
                base.pop()?;
            }
        }
        base.extend(rest);
        Some((base, true))
    }
}

/// `src/peer/store.rs` is `peer::store`; what is not part of the library has no module.
fn module_of(file: &str) -> Vec<String> {
    let Some(path) = file.strip_prefix("src/").filter(|path| !path.starts_with("bin/")) else {
        return Vec::new();
    };
    let path = path.trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if path == "lib" || path == "main" { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

/// The modules that each token stands in.
fn scopes(tokens: &[Token<'_>], file: &[String]) -> Vec<Vec<String>> {
    let mut scope = file.to_vec();
    let mut opened = Vec::new();
    let mut depth = 0_usize;
    let mut scopes = Vec::with_capacity(tokens.len());
    for (at, token) in tokens.iter().enumerate() {
        match (token.kind, token.text) {
            (Kind::Mark, "{") => {
                depth += 1;
                if at >= 2 && tokens[at - 2].kind == Kind::Word && tokens[at - 2].text == "mod" {
                    scope.push(tokens[at - 1].text.to_owned());
                    opened.push(depth);
                }
            }
            (Kind::Mark, "}") => {
                if opened.last() == Some(&depth) {
                    opened.pop();
                    scope.pop();
                }
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
        scopes.push(scope.clone());
    }
    scopes
}

/// Which tokens belong to an item under `#[cfg(test)]`, or `#[cfg(all(test, ..))]`.
fn test_only(tokens: &[Token<'_>]) -> Vec<bool> {
    let mut test = vec![false; tokens.len()];
    let mut at = 0;
    while at < tokens.len() {
        let here = at;
        at += 1;
        if tokens[here].text != "#" || tokens.get(at).is_none_or(|token| token.text != "[") {
            continue;
        }
        let attribute = &tokens[at..item_end(tokens, at)];
        let says = |word| attribute.iter().any(|token| token.kind == Kind::Word && token.text == word);
        if says("cfg") && says("test") && !says("not") && !says("any") {
            let end = item_end(tokens, at + attribute.len());
            test[here..end].fill(true);
            at = end;
        }
    }
    test
}

/// Where the attribute or item that begins at `at` ends: after its `;`, its body, or its brackets.
fn item_end(tokens: &[Token<'_>], at: usize) -> usize {
    let mut depth = 0_usize;
    let attribute = tokens.get(at).is_some_and(|token| token.text == "[");
    for (offset, token) in tokens[at..].iter().enumerate().filter(|(_, token)| token.kind == Kind::Mark) {
        match token.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                if depth == 0 && (token.text == "}" || attribute) {
                    return at + offset + 1;
                }
            }
            ";" if depth == 0 => return at + offset + 1,
            _ => {}
        }
    }
    tokens.len()
}
