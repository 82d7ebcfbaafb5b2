//! A careful scan of a step's script: commands that write one value into a file, and commands that export a file's path. A shell is
//! not imitated: what the scan does not know, the scan does not report.

#[cfg(test)]
mod tests;

/// The most commands that are read of one script.
const MAX_COMMANDS: usize = 2_000;

/// A command as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShellCommand {
    pub(super) text: String,
    /// The lines of a here-document.
    pub(super) body: Option<String>,
}

/// A command that writes one value into a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileWrite {
    /// The value as written: `$NAME`, `${NAME}` or an expression.
    pub(super) value: String,
    /// The encoding that the command decodes.
    pub(super) decode: Option<&'static str>,
    /// As written, without quotes.
    pub(super) path: String,
}

/// The commands of a script: `;`, `&&`, `||` and line ends separate commands.
pub(super) fn commands(script: &str) -> Vec<ShellCommand> {
    let mut commands = Vec::new();
    let mut rest = script;
    while !rest.is_empty() && commands.len() < MAX_COMMANDS {
        let (text, after) = next_command(rest);
        let (body, after) = here_document(text, after);
        let text = text.replace("\\\n", " ");
        let text = text.trim();
        if !text.is_empty() {
            commands.push(ShellCommand {
                text: text.to_owned(),
                body,
            });
        }
        rest = after;
    }
    commands
}

/// The first command, and the text after its separator.
fn next_command(script: &str) -> (&str, &str) {
    let mut quote: Option<char> = None;
    let mut at = 0;
    while let Some(c) = script[at..].chars().next() {
        let rest = &script[at..];
        let step = match quote {
            _ if rest.starts_with("${{") => rest.find("}}").map_or(3, |end| end + 2),
            Some('"') | None if c == '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            Some(open) => {
                if c == open {
                    quote = None;
                }
                c.len_utf8()
            }
            None if c == '#' && (at == 0 || script[..at].ends_with(char::is_whitespace)) => {
                let end = rest.find('\n').unwrap_or(rest.len());
                return (&script[..at], &rest[end..]);
            }
            None if matches!(c, ';' | '\n') => return (&script[..at], &rest[1..]),
            None if rest.starts_with("&&") || rest.starts_with("||") => return (&script[..at], &rest[2..]),
            None => {
                quote = Some(c).filter(|c| matches!(c, '"' | '\''));
                c.len_utf8()
            }
        };
        at += step;
    }
    (script, "")
}

/// The lines of the command's here-document, and the text behind them. A `<<` without a last line is something else, such as a shift of
/// bits.
fn here_document<'s>(command: &str, after: &'s str) -> (Option<String>, &'s str) {
    let Some((_, word)) = command
        .replace("<<<", "   ")
        .split_once("<<")
        .map(|(before, word)| (before.len(), word.to_owned()))
    else {
        return (None, after);
    };
    let word = word.trim_start_matches('-').trim_start();
    let end = word
        .split(|c: char| c.is_whitespace() || "|>;&".contains(c))
        .next()
        .unwrap_or_default();
    let end = end.trim_matches(['"', '\'']);
    let mut body = String::new();
    let mut rest = after;
    while !rest.is_empty() {
        let (line, behind) = rest.split_once('\n').unwrap_or((rest, ""));
        rest = behind;
        if line.trim() == end {
            return (Some(body), rest);
        }
        body.push_str(line.trim());
        body.push('\n');
    }
    (None, after)
}

/// The words of a command: quotes are removed, operators (`|`, `>`, `>>`, `>|`, `<<<`) are words of their own.
fn words(command: &str) -> Vec<Word> {
    let mut words = vec![];
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut rest = command;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match quote {
            _ if rest.starts_with("${{") => {
                taken = rest.find("}}").map_or(3, |end| end + 2);
                word.get_or_insert_default().push_str(&rest[..taken]);
            }
            Some(open) if c == open => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if matches!(c, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take().map(Word::Text)),
            None => match OPERATORS.iter().find(|operator| rest.starts_with(**operator)) {
                Some(operator) => {
                    taken = operator.len();
                    words.extend(word.take().map(Word::Text));
                    words.push(Word::Operator(operator));
                }
                None => word.get_or_insert_default().push(c),
            },
        }
        rest = &rest[taken..];
    }
    words.extend(word.map(Word::Text));
    words
}

/// The longest first.
const OPERATORS: [&str; 9] = ["<<<", "<<", "2>", "&>", ">>", ">|", ">", "|", "<"];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Text(String),
    Operator(&'static str),
}

/// One program of a pipeline.
#[derive(Debug, Default)]
struct Stage {
    words: Vec<String>,
    /// The file that the output goes to.
    output: Option<String>,
    /// The text behind `<<<`.
    input: Option<String>,
}

/// The programs of a pipeline. None: the pipeline has something that the scan does not know.
fn stages(command: &str) -> Option<Vec<Stage>> {
    let mut stages = vec![Stage::default()];
    let mut all = words(command).into_iter();
    while let Some(word) = all.next() {
        let last = stages.last_mut()?;
        match word {
            Word::Text(text) => last.words.push(text),
            Word::Operator("|") => stages.push(Stage::default()),
            Word::Operator(operator) => {
                let Some(Word::Text(operand)) = all.next() else {
                    return None;
                };
                match operator {
                    ">" | ">|" if last.output.is_none() => last.output = Some(operand),
                    "<<<" if last.input.is_none() => last.input = Some(operand),
                    "<<" | "2>" => {}
                    _ => return None,
                }
            }
        }
    }
    Some(stages)
}

impl ShellCommand {
    /// The file that the command writes, if the file's whole content is one value.
    pub(super) fn write(&self) -> Option<FileWrite> {
        let stages = stages(&self.text)?;
        let (first, rest) = stages.split_first()?;
        let mut decode = None;
        let mut path = None;
        let value = match program(&first.words).as_slice() {
            ["echo", args @ ..] => one(args, |arg| arg.starts_with('-')),
            ["printf", "%s" | "%s\\n", "--", value] | ["printf", "%s" | "%s\\n", value] => Some(*value),
            ["printf", value] => Some(*value),
            ["cat"] => self.body.as_deref().map(str::trim).or(first.input.as_deref()),
            args => {
                decode = decoder(args);
                decode.and(first.input.as_deref())
            }
        }?;
        let mut output = first.output.as_deref();
        for stage in rest {
            if output.is_some() || stage.input.is_some() {
                return None;
            }
            match program(&stage.words).as_slice() {
                ["tee", file] if stage.output.as_deref().is_none_or(|output| output == "/dev/null") => {
                    path = Some((*file).to_owned());
                    continue;
                }
                ["cat"] | ["tr", "-d", _] => {}
                args if decode.is_none() => decode = Some(decoder(args)?),
                _ => return None,
            }
            output = stage.output.as_deref();
        }
        let path = path.or_else(|| output.map(str::to_owned))?;
        let is_file = !path.is_empty() && !path.starts_with("/dev/") && !path.contains("GITHUB_");
        (is_file && is_reference(value)).then(|| FileWrite {
            value: value.to_owned(),
            decode,
            path,
        })
    }

    /// Name and value of a variable that the command sets: for later steps (`echo NAME=VALUE >> $GITHUB_ENV`), or for this script.
    pub(super) fn assignment(&self) -> Option<Assignment<'_>> {
        let (text, is_exported) = match self.text.rsplit_once(">>") {
            Some((echo, file)) if file.contains("GITHUB_ENV") => (echo.trim().strip_prefix("echo ")?, true),
            Some(_) => return None,
            None => (self.text.strip_prefix("export ").unwrap_or(&self.text), false),
        };
        let (name, value) = text.trim().trim_start_matches(['"', '\'']).split_once('=')?;
        let is_plain = crate::text::is_variable_name(name) && !value.contains(['|', ';', '`']);
        is_plain.then(|| Assignment {
            name,
            value: value.trim().trim_matches(['"', '\'']),
            is_exported,
        })
    }

    /// Whether the command, or its here-document, has the text by this rule.
    pub(super) fn has(&self, is_there: impl Fn(&str) -> bool) -> bool {
        is_there(&self.text) || self.body.as_deref().is_some_and(is_there)
    }

    /// The words of each program of the command's pipeline, without quotes, and also the names of files.
    pub(super) fn pipeline(&self) -> Vec<Vec<String>> {
        let mut programs = vec![Vec::new()];
        for word in words(&self.text) {
            match (word, programs.last_mut()) {
                (Word::Operator("|"), _) | (_, None) => programs.push(Vec::new()),
                (Word::Operator(_), _) => {}
                (Word::Text(text), Some(last)) => last.push(text),
            }
        }
        programs
    }

    /// The words of the command, without quotes and operators.
    pub(super) fn words(&self) -> Vec<String> {
        let texts = words(&self.text).into_iter().filter_map(|word| match word {
            Word::Text(text) => Some(text),
            Word::Operator(_) => None,
        });
        texts.collect()
    }

    /// Whether the command changes a file's mode, or makes or removes files: needless for a file of podkey's.
    pub(super) fn is_upkeep(&self) -> bool {
        matches!(
            program(&self.words()).as_slice(),
            ["chmod" | "chown" | "mkdir" | "rm" | "touch" | "install", ..]
        )
    }
}

/// A variable that a command sets.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assignment<'c> {
    pub(super) name: &'c str,
    pub(super) value: &'c str,
    /// Whether later steps have the variable.
    pub(super) is_exported: bool,
}

/// The program with its arguments, without `sudo`.
fn program(words: &[String]) -> Vec<&str> {
    let words = words.iter().map(String::as_str);
    words.skip_while(|word| *word == "sudo").collect()
}

/// The only argument that is no option.
fn one<'a>(args: &[&'a str], is_option: impl Fn(&str) -> bool) -> Option<&'a str> {
    let mut values = args.iter().copied().filter(|arg| !is_option(arg));
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

/// The encoding that a program decodes from its standard input.
fn decoder(args: &[&str]) -> Option<&'static str> {
    let has = |wanted: &[&str]| args.iter().any(|arg| wanted.contains(arg));
    let only = |known: &[&str]| args[1..].iter().all(|arg| known.contains(arg));
    match *args.first()? {
        "base64" => {
            const DECODES: [&str; 5] = ["-d", "-D", "--decode", "-di", "-id"];
            let known = only(&["-d", "-D", "--decode", "-di", "-id", "-i", "--ignore-garbage", "-"]);
            (known && has(&DECODES)).then_some("base64")
        }
        "openssl" => {
            let known = only(&["base64", "enc", "-base64", "-a", "-d", "-A"]);
            (known && has(&["-d"]) && has(&["base64", "-base64", "-a"])).then_some("base64")
        }
        "xxd" => (only(&["-r", "-p", "-ps"]) && has(&["-r"]) && has(&["-p", "-ps"])).then_some("hex"),
        _ => None,
    }
}

/// Whether the text is one variable or one expression, and nothing else.
fn is_reference(text: &str) -> bool {
    match super::expressions::expression(text) {
        Some(expression) => expression == text,
        None => variable(text).is_some(),
    }
}

/// The name in `$NAME` or `${NAME}`.
pub(super) fn variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix('$')?;
    let name = name
        .strip_prefix('{')
        .and_then(|name| name.strip_suffix('}'))
        .unwrap_or(name);
    crate::text::is_variable_name(name).then_some(name)
}
