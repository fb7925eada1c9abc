//! Expressions of constraints, costs and objectives: numbers and texts, names, arithmetic, comparisons.

mod parse;

use std::fmt;

use thiserror::Error;

use crate::units;

/// An expression over keys and metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    text: String,
    node: Node,
}

/// What an expression is made of.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Value(Quantity),
    Name(String),
    Negative(Box<Node>),
    Not(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
}

/// Operators between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Functions of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Min,
    Max,
    Log2,
    Sqrt,
    Pow,
}

const FUNCTIONS: [(&str, Function, usize); 5] = [
    ("min", Function::Min, 2),
    ("max", Function::Max, 2),
    ("log2", Function::Log2, 1),
    ("sqrt", Function::Sqrt, 1),
    ("pow", Function::Pow, 2),
];

/// A value in an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Quantity {
    /// A number; `true` is 1, `false` 0.
    Number(f64),
    /// Any other text.
    Text(String),
}

impl Quantity {
    /// What a setting such as `2048`, `4 KiB`, `14 cycles`, `true` or `lru` is: sizes in bytes, other quantities in their own unit.
    #[must_use]
    pub fn of_setting(text: &str) -> Self {
        let text = text.trim();
        let leading = || text.split_once(' ').and_then(|(number, _)| number.parse::<f64>().ok());
        let number = match text {
            "true" => Some(1.0),
            "false" => Some(0.0),
            _ => text.parse().ok().or_else(|| units::parse_size(text).map(|n| n as f64)).or_else(leading),
        };
        number.filter(|n| n.is_finite()).map_or_else(|| Self::Text(text.to_owned()), Self::Number)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExprError {
    /// Not an expression.
    #[error("at character {at}: found {found}: expected {expected}")]
    Syntax {
        /// From 1.
        at: usize,
        /// What is there.
        found: String,
        /// What could be.
        expected: &'static str,
    },
    /// A name that has no value.
    #[error("{0} has no value here")]
    NoValue(String),
    /// A text where a number is needed.
    #[error("{0} is no number")]
    NotANumber(String),
    /// A division by zero, or the like.
    #[error("`{0}` has no finite value")]
    NotFinite(String),
}

impl Expr {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// [`ExprError::Syntax`].
    pub fn parse(text: &str) -> Result<Self, ExprError> {
        Ok(Self { text: text.trim().to_owned(), node: parse::node(text)? })
    }

    /// Every name in it.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        collect(&self.node, &mut names);
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Its value as a number.
    ///
    /// # Errors
    ///
    /// A name that `value_of` does not know, a text where a number is needed, or a result that is not finite.
    pub fn number(&self, value_of: &dyn Fn(&str) -> Option<Quantity>) -> Result<f64, ExprError> {
        let number = number(evaluate(&self.node, value_of)?)?;
        if number.is_finite() { Ok(number) } else { Err(ExprError::NotFinite(self.text.clone())) }
    }

    /// Whether it holds: its value is not 0.
    ///
    /// # Errors
    ///
    /// As [`Self::number`].
    pub fn holds(&self, value_of: &dyn Fn(&str) -> Option<Quantity>) -> Result<bool, ExprError> {
        Ok(self.number(value_of)? != 0.0)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn collect<'a>(node: &'a Node, names: &mut Vec<&'a str>) {
    match node {
        Node::Value(_) => {}
        Node::Name(name) => names.push(name),
        Node::Negative(inner) | Node::Not(inner) => collect(inner, names),
        Node::Binary(_, a, b) => [a, b].into_iter().for_each(|node| collect(node, names)),
        Node::Call(_, of) => of.iter().for_each(|node| collect(node, names)),
    }
}

fn evaluate(node: &Node, value_of: &dyn Fn(&str) -> Option<Quantity>) -> Result<Quantity, ExprError> {
    let of = |node: &Node| evaluate(node, value_of);
    Ok(match node {
        Node::Value(value) => value.clone(),
        Node::Name(name) => value_of(name).ok_or_else(|| ExprError::NoValue(name.clone()))?,
        Node::Negative(inner) => Quantity::Number(-number(of(inner)?)?),
        Node::Not(inner) => truth(number(of(inner)?)? == 0.0),
        Node::Binary(operator, a, b) => binary(*operator, of(a)?, of(b)?)?,
        Node::Call(function, arguments) => {
            let numbers = arguments.iter().map(|node| number(of(node)?)).collect::<Result<Vec<_>, _>>()?;
            Quantity::Number(call(*function, &numbers))
        }
    })
}

fn binary(operator: Operator, a: Quantity, b: Quantity) -> Result<Quantity, ExprError> {
    match operator {
        Operator::Equal => return Ok(truth(a == b)),
        Operator::NotEqual => return Ok(truth(a != b)),
        _ => {}
    }
    let (a, b) = (number(a)?, number(b)?);
    Ok(match operator {
        Operator::Or => truth(a != 0.0 || b != 0.0),
        Operator::And => truth(a != 0.0 && b != 0.0),
        Operator::Equal => truth(a == b),
        Operator::NotEqual => truth(a != b),
        Operator::Less => truth(a < b),
        Operator::AtMost => truth(a <= b),
        Operator::Greater => truth(a > b),
        Operator::AtLeast => truth(a >= b),
        Operator::Add => Quantity::Number(a + b),
        Operator::Subtract => Quantity::Number(a - b),
        Operator::Multiply => Quantity::Number(a * b),
        Operator::Divide => Quantity::Number(a / b),
        Operator::Remainder => Quantity::Number(a % b),
    })
}

fn call(function: Function, of: &[f64]) -> f64 {
    let at = |n: usize| of.get(n).copied().unwrap_or(f64::NAN);
    match function {
        Function::Min => at(0).min(at(1)),
        Function::Max => at(0).max(at(1)),
        Function::Log2 => at(0).log2(),
        Function::Sqrt => at(0).sqrt(),
        Function::Pow => at(0).powf(at(1)),
    }
}

const fn truth(is_so: bool) -> Quantity {
    Quantity::Number(if is_so { 1.0 } else { 0.0 })
}

fn number(value: Quantity) -> Result<f64, ExprError> {
    match value {
        Quantity::Number(number) => Ok(number),
        Quantity::Text(text) => Err(ExprError::NotANumber(format!("{text:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<f64, ExprError> {
        let of = |name: &str| match name {
            "tlb.stlb.entries" => Some(Quantity::of_setting("2048")),
            "cpu.clock" => Some(Quantity::of_setting("2.5 GHz")),
            "size" => Some(Quantity::of_setting("4 KiB")),
            "tlb.stlb.replacement" => Some(Quantity::of_setting("lru")),
            "flat-4k" => Some(Quantity::of_setting("true")),
            _ => None,
        };
        Expr::parse(text)?.number(&of)
    }

    #[test]
    fn arithmetic_binds_as_everywhere() {
        for (text, expected) in [
            ("1 + 2 * 3", 7.0),
            ("(1 + 2) * 3", 9.0),
            ("10 - 4 - 3", 3.0),
            ("24 / 4 / 2", 3.0),
            ("-2 * -3", 6.0),
            ("7 % 4 + 1e2", 103.0),
            ("1 + 1 == 2 && 3 < 2 || 5 >= 5", 1.0),
            ("!(1 > 0) || 0 != 0", 0.0),
            ("max(2, min(9, 4)) + log2(8) + pow(2, 3) + sqrt(9)", 18.0),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn names_are_keys_and_settings_are_numbers_in_their_own_unit() {
        for (text, expected) in [
            ("tlb.stlb.entries * 8 / 1024", 16.0),
            ("cpu.clock", 2.5),
            ("size", 4096.0),
            ("tlb.stlb.replacement == \"lru\"", 1.0),
            ("tlb.stlb.replacement != \"lru\"", 0.0),
            ("`flat-4k` + 1", 2.0),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
        assert_eq!(Expr::parse("b + a * min(a, c)").unwrap().names(), ["a", "b", "c"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, expected) in [
            ("", "at character 1: found the end: expected a number, a name or `(`"),
            ("1 +", "at character 4: found the end: expected a number, a name or `(`"),
            ("1 2", "at character 3: found `2`: expected an operator or the end"),
            ("(1", "at character 3: found the end: expected `)`"),
            ("min(1)", "at character 6: found `)`: expected `,` and as many arguments as the function has"),
            ("sin(1)", "at character 1: found `sin`: expected min, max, log2, sqrt or pow before `(`"),
            ("\"a", "at character 1: found `\"`: expected a closing quote"),
            ("1 = 1", "at character 3: found `=`: expected an operator or the end"),
            ("a.b", "a.b has no value here"),
            ("1 / 0", "`1 / 0` has no finite value"),
            ("tlb.stlb.replacement + 1", "\"lru\" is no number"),
        ] {
            assert_eq!(value(text).unwrap_err().to_string(), expected, "{text}");
        }
        let deep = format!("{}1{}", "(".repeat(1000), ")".repeat(1000));
        assert!(value(&deep).unwrap_err().to_string().contains("fewer levels"), "bounded");
        assert!(value(&format!("{}1", "-".repeat(1000))).is_err());
        let long = format!("1{}", " + 1".repeat(100_000));
        assert!(value(&long).unwrap_err().to_string().contains("at most 4,096 bytes"), "bounded");
    }
}
