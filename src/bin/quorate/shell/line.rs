//! What a line means.

/// A line that was typed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Line {
    /// Only spaces, or a remark.
    Nothing,
    /// The end.
    Exit,
    /// A quotation mark is missing.
    Unfinished,
    /// A command and its arguments.
    Words(Vec<String>),
}

impl Line {
    /// Reads a line. A leading `quorate`, as one types it elsewhere, says nothing.
    pub fn of(text: &str) -> Self {
        if text.trim_start().starts_with('#') {
            return Self::Nothing;
        }
        let Some(mut words) = words(text) else { return Self::Unfinished };
        if words.first().is_some_and(|word| word == "quorate") {
            words.remove(0);
            if words.is_empty() {
                words.push("help".to_owned());
            }
        }
        match words.first().map(String::as_str) {
            None => Self::Nothing,
            Some("exit" | "quit") if words.len() == 1 => Self::Exit,
            Some(_) => Self::Words(words),
        }
    }
}

/// Cuts a line at its spaces; quotation marks of either kind keep them. `None` if one is missing.
pub fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in line.chars() {
        match (quote, letter) {
            (Some(mark), letter) if mark == letter => quote = None,
            (Some(_), letter) => word.get_or_insert_default().push(letter),
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, letter) if letter.is_whitespace() => words.extend(word.take()),
            (None, letter) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Line {
        Line::of(text)
    }

    #[test]
    fn quotation_marks_keep_spaces_together() {
        let words = |words: &[&str]| Line::Words(words.iter().map(|word| (*word).to_owned()).collect());
        assert_eq!(read("set /a 'b c' \"\""), words(&["set", "/a", "b c", ""]));
        assert_eq!(read(" quorate  get /a"), words(&["get", "/a"]));
        assert_eq!(read("quorate"), words(&["help"]));
        assert_eq!(read("get quit"), words(&["get", "quit"]));
        assert_eq!(read("set /a 'b"), Line::Unfinished);
    }

    #[test]
    fn some_lines_are_no_commands() {
        assert_eq!((read("  "), read("# a remark 'd"), read("")), (Line::Nothing, Line::Nothing, Line::Nothing));
        assert_eq!((read("exit"), read("quorate quit ")), (Line::Exit, Line::Exit));
    }
}
