//! The simple commands of a shell's text, word by word: as much of a shell as the pages' command lines need.

/// The words of one command, without redirections.
pub(crate) type Words = Vec<String>;

/// Each command, with the number of its line in the text. Commands in `$( )` and `<( )` are commands of their own; so are those on both
/// sides of `|`, `;`, `&&` and `||`. Here documents and comments are passed over.
pub(crate) fn commands(text: &str) -> Vec<(usize, Words)> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let mut whole = line.strip_prefix("$ ").unwrap_or(line).to_owned();
        while let Some(before) = whole.strip_suffix('\\') {
            whole = format!("{before} {}", lines.next().map_or("", |(_, next)| next.trim_start()));
        }
        // A quote that is open goes on in the next line.
        while is_open(&whole) {
            match lines.next() {
                Some((_, next)) => whole = format!("{whole}\n{next}"),
                None => break,
            }
        }
        let end = here_document(&whole);
        found.extend(of_line(&whole).into_iter().map(|words| (number + 1, words)));
        if let Some(end) = end {
            for (_, line) in lines.by_ref() {
                if line.trim() == end {
                    break;
                }
            }
        }
    }
    found
}

/// The word that ends a here document which begins in the line.
fn here_document(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("<<")?;
    if rest.starts_with('<') {
        return None;
    }
    let word = rest.trim_start_matches('-').trim_start();
    let word = word.split([' ', ';', '|', ')', '>']).next()?;
    Some(word.trim_matches(['\'', '"']).to_owned()).filter(|word| !word.is_empty())
}

/// Whether a quote is open at the end of the text.
fn is_open(text: &str) -> bool {
    let mut quote = None;
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None | Some('"'), '\\') => drop(chars.next()),
            (None, '#') if before.is_whitespace() => while chars.next_if(|c| *c != '\n').is_some() {},
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
        before = c;
    }
    quote.is_some()
}

struct Reader<'t> {
    chars: std::iter::Peekable<std::str::Chars<'t>>,
    found: Vec<Words>,
}

fn of_line(line: &str) -> Vec<Words> {
    let mut reader = Reader {
        chars: line.chars().peekable(),
        found: Vec::new(),
    };
    while reader.chars.peek().is_some() {
        reader.command();
        // A closing parenthesis without an opening one.
        reader.chars.next_if_eq(&')');
    }
    reader.found
}

impl Reader<'_> {
    /// Reads commands until the end of the line or an unmatched `)`.
    fn command(&mut self) {
        let mut words = Words::new();
        let mut word: Option<String> = None;
        let mut is_target = false;
        loop {
            let c = self.chars.peek().copied();
            let ends_word = c.is_none_or(|c| c.is_whitespace() || ";|&<>()".contains(c));
            if ends_word && let Some(word) = word.take() {
                // The number of a redirection (`2>`), and its target.
                let is_number = matches!(c, Some('>' | '<')) && word.chars().all(|c| c.is_ascii_digit());
                if !is_target && !is_number {
                    words.push(word);
                }
                is_target = false;
            }
            let Some(c) = c.filter(|c| *c != ')') else { break };
            self.chars.next();
            match c {
                '#' if word.is_none() => while self.chars.next_if(|c| *c != '\n').is_some() {},
                '\n' | ';' | '|' | '&' => self.end(&mut words),
                '<' | '>' if self.chars.next_if_eq(&'(').is_some() => {
                    self.inner();
                    word.get_or_insert_default().push_str("file");
                }
                '<' | '>' => is_target = !self.redirection(),
                '(' => self.inner(),
                c if c.is_whitespace() => {}
                '\'' => word
                    .get_or_insert_default()
                    .extend(std::iter::from_fn(|| self.chars.next_if(|c| *c != '\''))),
                '"' => self.quoted(word.get_or_insert_default()),
                '\\' => word.get_or_insert_default().extend(self.chars.next()),
                '$' if self.chars.next_if_eq(&'(').is_some() => {
                    self.inner();
                    word.get_or_insert_default().push_str("output");
                }
                c => word.get_or_insert_default().push(c),
            }
            if c == '\'' {
                self.chars.next();
            }
        }
        self.end(&mut words);
    }

    fn end(&mut self, words: &mut Words) {
        if !words.is_empty() {
            self.found.push(std::mem::take(words));
        }
    }

    /// A command in parentheses.
    fn inner(&mut self) {
        self.command();
        self.chars.next_if_eq(&')');
    }

    /// Passes over `>>`, `>&1`, `<<`. Whether the redirection has its target in itself.
    fn redirection(&mut self) -> bool {
        while self.chars.next_if(|c| matches!(c, '<' | '>' | '|' | '-')).is_some() {}
        if self.chars.next_if_eq(&'&').is_none() {
            return false;
        }
        while self.chars.next_if(char::is_ascii_digit).is_some() {}
        true
    }

    fn quoted(&mut self, word: &mut String) {
        while let Some(c) = self.chars.next() {
            match c {
                '"' => return,
                '\\' => word.extend(self.chars.next()),
                '$' if self.chars.next_if_eq(&'(').is_some() => {
                    self.inner();
                    word.push_str("output");
                }
                c => word.push(c),
            }
        }
    }
}

#[test]
fn commands_are_found_as_a_shell_finds_them() {
    let text = "\
$ helm template web ./chart | podkey lint -f - >out 2>&1   # podkey comment
source <(podkey completion bash); podkey explain 'a b' \"c $(podkey version)\"
A=1 podkey doctor \\
  -n web && cat <<'END' | kubectl podkey status
podkey no command
END
make dist TOOL_ARCHES=
jq '.a
 | podkey' file
";
    let found: Vec<String> = commands(text)
        .into_iter()
        .map(|(line, words)| format!("{line} {}", words.join(",")))
        .collect();
    assert_eq!(
        found,
        [
            "1 helm,template,web,./chart",
            "1 podkey,lint,-f,-",
            "2 podkey,completion,bash",
            "2 source,file",
            "2 podkey,version",
            "2 podkey,explain,a b,c output",
            "3 A=1,podkey,doctor,-n,web",
            "3 cat",
            "3 kubectl,podkey,status",
            "7 make,dist,TOOL_ARCHES=",
            "8 jq,.a\n | podkey,file",
        ]
    );
}
