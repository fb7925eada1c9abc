//! From text to the tree of an expression.

use super::{ExprError, FUNCTIONS, Node, Operator, Quantity};

/// Parentheses and signs inside each other at most.
const DEPTH: usize = 64;
/// Bytes of an expression at most: a chain of operators is as deep a tree as it is long.
const LENGTH: usize = 4096;

/// Operators by how tightly they bind, the loosest first; of those that begin alike the longer first.
const LEVELS: [&[(&str, Operator)]; 5] = [
    &[("||", Operator::Or)],
    &[("&&", Operator::And)],
    &[
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::AtMost),
        (">=", Operator::AtLeast),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide), ("%", Operator::Remainder)],
];

/// The tree of an expression.
pub(super) fn node(text: &str) -> Result<Node, ExprError> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    if text.len() > LENGTH {
        return Err(parser.expected("an expression of at most 4,096 bytes"));
    }
    let node = parser.level(0)?;
    parser.spaces();
    if parser.rest().is_empty() { Ok(node) } else { Err(parser.expected("an operator or the end")) }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    /// What is wrong here.
    fn expected(&self, expected: &'static str) -> ExprError {
        self.expected_at(self.at, expected)
    }

    fn expected_at(&self, at: usize, expected: &'static str) -> ExprError {
        let rest = self.text.get(at..).unwrap_or_default();
        let word = rest.find(|c: char| !is_of_name(c)).unwrap_or(rest.len());
        let shown = rest.chars().take(rest.get(..word).map_or(1, |w| w.chars().count()).clamp(1, 40));
        let shown: String = shown.collect();
        let found = if shown.is_empty() { "the end".to_owned() } else { format!("`{shown}`") };
        let at = self.text.get(..at).map_or(0, |before| before.chars().count()) + 1;
        ExprError::Syntax { at, found, expected }
    }

    /// Goes past `word` if it is next.
    fn takes(&mut self, word: &str) -> bool {
        self.spaces();
        let is_next = self.rest().starts_with(word);
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    /// Operators of a level and what binds more tightly.
    fn level(&mut self, level: usize) -> Result<Node, ExprError> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut node = self.level(level + 1)?;
        while let Some((_, operator)) = operators.iter().find(|(word, _)| self.takes(word)) {
            node = Node::Binary(*operator, Box::new(node), Box::new(self.level(level + 1)?));
        }
        Ok(node)
    }

    fn unary(&mut self) -> Result<Node, ExprError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.expected("fewer levels of parentheses and signs"));
        }
        let node = if self.takes("-") {
            Node::Negative(Box::new(self.unary()?))
        } else if self.takes("!") {
            Node::Not(Box::new(self.unary()?))
        } else {
            self.single()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn single(&mut self) -> Result<Node, ExprError> {
        if self.takes("(") {
            let node = self.level(0)?;
            return if self.takes(")") { Ok(node) } else { Err(self.expected("`)`")) };
        }
        let begin = self.at;
        if self.takes("\"") {
            return Ok(Node::Value(Quantity::Text(self.until('"', begin)?)));
        }
        if self.takes("`") {
            return Ok(Node::Name(self.until('`', begin)?));
        }
        match self.rest().chars().next() {
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(c) if is_of_name(c) => self.name(),
            _ => Err(self.expected("a number, a name or `(`")),
        }
    }

    /// The text up to a closing quote.
    fn until(&mut self, quote: char, begin: usize) -> Result<String, ExprError> {
        let Some(end) = self.rest().find(quote) else {
            return Err(self.expected_at(begin, "a closing quote"));
        };
        let text = self.rest().get(..end).unwrap_or_default().to_owned();
        self.at += end + quote.len_utf8();
        Ok(text)
    }

    fn number(&mut self) -> Result<Node, ExprError> {
        let rest = self.rest();
        let is_exponent = |at: usize| {
            let before = rest.get(..at).and_then(|text| text.chars().next_back());
            before.is_some_and(|c| c == 'e' || c == 'E')
        };
        let of_number =
            |at: usize, c: char| c.is_ascii_alphanumeric() || c == '.' || "+-".contains(c) && is_exponent(at);
        let end = rest.char_indices().find(|(at, c)| !of_number(*at, *c)).map_or(rest.len(), |(at, _)| at);
        match rest.get(..end).and_then(|text| text.parse::<f64>().ok()) {
            Some(number) => {
                self.at += end;
                Ok(Node::Value(Quantity::Number(number)))
            }
            None => Err(self.expected("a number")),
        }
    }

    fn name(&mut self) -> Result<Node, ExprError> {
        let begin = self.at;
        let end = self.rest().find(|c: char| !is_of_name(c)).unwrap_or(self.rest().len());
        let name = self.rest().get(..end).unwrap_or_default();
        self.at += end;
        if !self.takes("(") {
            return Ok(Node::Name(name.to_owned()));
        }
        let Some((_, function, count)) = FUNCTIONS.iter().find(|(known, _, _)| *known == name) else {
            return Err(self.expected_at(begin, "min, max, log2, sqrt or pow before `(`"));
        };
        let mut arguments = vec![self.level(0)?];
        while arguments.len() < *count {
            if !self.takes(",") {
                return Err(self.expected("`,` and as many arguments as the function has"));
            }
            arguments.push(self.level(0)?);
        }
        if self.takes(")") { Ok(Node::Call(*function, arguments)) } else { Err(self.expected("`)`")) }
    }
}

/// Characters of dotted keys and of paths into a report; a name with others stands in backquotes.
fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.'
}
