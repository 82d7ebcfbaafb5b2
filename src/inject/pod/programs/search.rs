//! The search for programs in the words of commands.

use crate::inject::pod::path::normalized;
use crate::inject::pod::programs::words::{ProgramKind, is_assignment, kind};

/// The longest path that Linux accepts, in bytes.
const MAX_PATH_BYTES: usize = 4096;
/// The most that the paths of one container's relative words have together, in bytes.
const MAX_JOINED_BYTES: usize = 16 * 1024 * 1024;
/// The most words behind a wrapper that may run a program themselves. Of the later words only absolute paths count.
const MAX_FOLLOWED: usize = 64;

/// The search through the words of one container.
pub(super) struct ProgramSearch<'f> {
    /// Where the container's relative words may be, the latest last. The shell alone knows which one it is.
    directories: Vec<String>,
    /// How many bytes the paths of relative words may still have.
    room: usize,
    found: &'f mut dyn FnMut(&str),
}

impl<'f> ProgramSearch<'f> {
    /// A search that calls `found` with the path of each program.
    pub(super) fn new(found: &'f mut dyn FnMut(&str)) -> Self {
        Self {
            directories: Vec::new(),
            room: MAX_JOINED_BYTES,
            found,
        }
    }

    /// Reports a word that runs as a program.
    pub(super) fn add(&mut self, word: &str) {
        if word.starts_with('/') {
            let path = normalized(word);
            if path.len() <= MAX_PATH_BYTES {
                (self.found)(&path);
            }
        } else if word.contains('/') {
            // The image alone knows where a word without a directory is.
            for directory in &self.directories {
                let bytes = directory.len() + word.len() + 1;
                if bytes <= MAX_PATH_BYTES && bytes <= self.room {
                    self.room -= bytes;
                    (self.found)(&normalized(&format!("{directory}/{word}")));
                }
            }
        }
    }

    /// Changes the directory, as `cd` does.
    pub(super) fn enter(&mut self, directory: &str) {
        let last = self.directories.last().filter(|_| !directory.starts_with('/'));
        let path = match (last, directory.starts_with('/')) {
            _ if directory.len() > MAX_PATH_BYTES => return,
            (_, true) => normalized(directory),
            (Some(last), false) => normalized(&format!("{last}/{directory}")),
            (None, false) => return,
        };
        self.directories.retain(|known| *known != path);
        self.directories.push(path);
        // Each relative word is joined to each of the directories.
        while self.directories.len() > 1 && self.directories.iter().map(String::len).sum::<usize>() > MAX_PATH_BYTES {
            self.directories.remove(0);
        }
    }

    /// Finds the programs that a command runs. A program may run the next one.
    pub(super) fn run(&mut self, words: &[&str]) {
        let [name, arguments @ ..] = words else { return };
        self.add(name);
        match kind(name) {
            ProgramKind::Shell => self.shell(arguments),
            ProgramKind::Interpreter => self.interpreter(arguments),
            ProgramKind::Wrapper(own) => self.wrapper(own, arguments),
            ProgramKind::Other => {}
        }
    }

    fn interpreter(&mut self, arguments: &[&str]) {
        if let Some(path) = arguments.iter().find(|word| !word.starts_with('-')) {
            self.add(path);
        }
    }

    /// A word right behind an option may be the option's value, or the program. Both count as programs, and so do the words that
    /// follow, up to the first word that can only be the program.
    fn wrapper(&mut self, own: usize, arguments: &[&str]) {
        let (mut own, mut is_value, mut is_last) = (own, false, false);
        let mut left = MAX_FOLLOWED;
        for (index, word) in arguments.iter().enumerate() {
            if *word == "--" {
                (is_value, is_last) = (false, own == 0);
                continue;
            }
            if word.starts_with('-') && !is_last {
                let joined = ["--command=", "--session-command=", "--split-string=", "-S", "-c"];
                if let Some(text) = joined.iter().find_map(|option| word.strip_prefix(option)) {
                    self.script(text);
                }
                is_value = !(word.starts_with("--") && word.contains('=')) && *word != "-";
                continue;
            }
            if is_assignment(word) {
                is_value = false;
                continue;
            }
            self.add(word);
            if left > 0 {
                left -= 1;
                match kind(word) {
                    ProgramKind::Shell => self.shell(&arguments[index + 1..]),
                    ProgramKind::Interpreter => self.interpreter(&arguments[index + 1..]),
                    // The words behind belong to this wrapper.
                    ProgramKind::Wrapper(more) => {
                        own = own.max(more);
                        (is_value, is_last) = (false, false);
                        continue;
                    }
                    // `su -c TEXT`
                    ProgramKind::Other if is_value && word.contains(char::is_whitespace) => self.script(word),
                    ProgramKind::Other => {}
                }
            }
            match (is_value, own) {
                (true, _) => is_value = false,
                (false, 0) => return,
                (false, _) => own -= 1,
            }
        }
    }

    /// Finds the programs that a shell with these arguments runs.
    fn shell(&mut self, arguments: &[&str]) {
        let mut is_text = false;
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.strip_prefix(['-', '+']) {
                None if is_text => return self.script(word),
                None => return self.add(word),
                Some("-init-file" | "-rcfile") => drop(words.next()),
                Some(long) if long.starts_with('-') => {}
                Some(flags) => {
                    is_text |= flags.contains('c');
                    // The next word is the name of the shell's option.
                    if flags.ends_with(['o', 'O']) {
                        words.next();
                    }
                }
            }
        }
    }

    /// Finds the programs that a shell's script runs: the first words of the script's simple commands. (A file that the shell
    /// reads with `.`, such as an environment, is data.)
    fn script(&mut self, text: &str) {
        const KEYWORDS: [&str; 10] = [
            "!", "do", "elif", "else", "if", "then", "trap", "until", "while", "command",
        ];
        let before = self.directories.clone();
        for command in text.split([';', '|', '&', '\n', '(', ')', '{', '}', '`']) {
            let words = command.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
            let words: Vec<&str> = words
                .skip_while(|word| KEYWORDS.contains(word) || is_assignment(word))
                .collect();
            match &*words {
                ["cd" | "pushd", operands @ ..] => {
                    let directory = operands.iter().find(|word| !word.starts_with('-'));
                    if let Some(directory) = directory.filter(|directory| !directory.contains('$')) {
                        self.enter(directory);
                    }
                }
                words => self.run(words),
            }
        }
        self.directories = before;
    }
}
