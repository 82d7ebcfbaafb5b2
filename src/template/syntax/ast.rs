//! The tree of a template.

use crate::template::syntax::function::KnownFunction;
use crate::template::syntax::number::Number;

/// A place: the offset of a byte in the template's text.
pub(crate) type At = u32;

/// A piece of the template.
pub(crate) enum TemplateNode {
    /// Text that is written as it is.
    Text(Box<str>),
    /// An action whose result is printed, unless it declares or assigns a variable.
    Action(Pipe),
    /// `if … else if … else … end`.
    If(Branch),
    /// `with … else with … else … end`.
    With(Branch),
    Range(Range),
    Break,
    Continue,
}

/// The arms of an `if` or a `with`: the first whose pipeline is true is taken.
pub(crate) struct Branch {
    pub(crate) arms: Vec<(Pipe, Vec<TemplateNode>)>,
    pub(crate) otherwise: Vec<TemplateNode>,
}

/// `range … else … end`.
pub(crate) struct Range {
    pub(crate) pipe: Pipe,
    pub(crate) body: Vec<TemplateNode>,
    pub(crate) otherwise: Vec<TemplateNode>,
}

/// Commands, each of which gets the result of the one before as its last argument.
pub(crate) struct Pipe {
    pub(crate) at: At,
    /// The variables that are declared or assigned.
    pub(crate) variables: Vec<Box<str>>,
    /// Whether the variables are assigned (`=`) rather than declared (`:=`).
    pub(crate) assign: bool,
    pub(crate) commands: Vec<Command>,
}

/// A function or a value with its arguments.
pub(crate) struct Command {
    pub(crate) words: Vec<Expr>,
    /// The number of the call in the template's list, if it reads or writes a secret.
    pub(crate) call: Option<usize>,
}

/// A word of a command.
pub(crate) struct Expr {
    pub(crate) at: At,
    pub(crate) kind: ExprKind,
}

pub(crate) enum ExprKind {
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    Text(Box<[u8]>),
    /// `.a.b`
    Field(Vec<Box<str>>),
    /// `$x.a.b`; the name has its `$`.
    Variable(Box<str>, Vec<Box<str>>),
    Function(&'static KnownFunction),
    Pipe(Box<Pipe>),
    /// `(…).a.b`
    Chain(Box<Expr>, Vec<Box<str>>),
}
