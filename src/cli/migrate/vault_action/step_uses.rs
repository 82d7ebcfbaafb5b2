//! Where a workflow uses a step, as in `steps.ID.outputs.NAME`: searched in the text, because any value of the workflow may have
//! an expression. GitHub ignores case in expressions.

/// One use of a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StepUse<'a> {
    /// Counted from 1.
    pub(super) line: usize,
    /// In characters, counted from 1.
    pub(super) column: usize,
    /// The use as written.
    pub(super) text: &'a str,
    /// The name of the output. None: the use is of another part of the step, such as all outputs together, or the outcome.
    pub(super) output: Option<&'a str>,
}

/// Every use of the step in these lines. The range counts from 1 and does not include its end.
pub(super) fn uses<'a>(text: &'a str, lines: &std::ops::Range<usize>, id: &str) -> Vec<StepUse<'a>> {
    let mut uses = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if !lines.contains(&number) {
            continue;
        }
        let mut from = 0;
        while let Some(at) = find(&line[from..], "steps").map(|at| from + at) {
            from = at + "steps".len();
            let is_name = |c: char| c.is_alphanumeric() || "_-.".contains(c);
            if line[..at].ends_with(is_name) {
                continue;
            }
            let Some((step, after)) = member(&line[from..]) else {
                if uses_all(line, at, from) {
                    uses.push(StepUse {
                        line: number,
                        column: line[..at].chars().count() + 1,
                        text: &line[at..from],
                        output: None,
                    });
                }
                continue;
            };
            if !step.eq_ignore_ascii_case(id) {
                continue;
            }
            let (output, after) = match member(after) {
                Some((outputs, after)) if outputs.eq_ignore_ascii_case("outputs") => match member(after) {
                    Some((name, after)) => (Some(name), after),
                    None => (None, after),
                },
                Some((_, after)) => (None, after),
                None => (None, after),
            };
            let end = line.len() - after.len();
            uses.push(StepUse {
                line: number,
                column: line[..at].chars().count() + 1,
                text: &line[at..end],
                output,
            });
            from = end;
        }
    }
    uses
}

/// Whether an expression uses all steps together here: `steps.*`, `steps[matrix.x]`, `toJSON(steps)`.
fn uses_all(line: &str, at: usize, end: usize) -> bool {
    let before = &line[..at];
    let is_condition = before.trim_start_matches([' ', '-']).starts_with("if:");
    let is_inside = before.rfind("${{") > before.rfind("}}");
    let after = line[end..].trim_start();
    let indexed = after.starts_with('[')
        || after
            .strip_prefix('.')
            .is_some_and(|after| after.trim_start().starts_with('*'));
    let handed_over = before.trim_end().ends_with(['(', ',']) && after.starts_with([')', ',']);
    (is_condition || is_inside) && (indexed || handed_over)
}

/// `.name`, `['name']` or `["name"]`, and the text after it. An expression may have blanks between its parts.
fn member(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    if let Some(after) = text.strip_prefix('.') {
        let after = after.trim_start();
        let end = after
            .find(|c: char| !(c.is_alphanumeric() || "_-".contains(c)))
            .unwrap_or(after.len());
        return (end > 0).then(|| after.split_at(end));
    }
    let inside = text.strip_prefix('[')?.trim_start();
    let quote = inside.chars().next().filter(|c| "'\"".contains(*c))?;
    let (name, after) = inside[1..].split_once(quote)?;
    Some((name, after.trim_start().strip_prefix(']')?))
}

fn find(text: &str, word: &str) -> Option<usize> {
    text.as_bytes()
        .windows(word.len())
        .position(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_use_is_found() {
        let text = "a: ${{ steps.vault.outputs.TOKEN }} ${{ Steps['vault'].Outputs[\"a-b\"] }}\n\
            b: ${{ steps.vault-2.outputs.X }} mysteps.vault.outputs.X ä steps.VAULT.outcome";
        let shown: Vec<_> = uses(text, &(1..3), "vault")
            .into_iter()
            .map(|found| format!("{}:{} {} {:?}", found.line, found.column, found.text, found.output))
            .collect();
        assert_eq!(
            shown,
            [
                "1:8 steps.vault.outputs.TOKEN Some(\"TOKEN\")",
                "1:41 Steps['vault'].Outputs[\"a-b\"] Some(\"a-b\")",
                "2:61 steps.VAULT.outcome None",
            ]
        );
        let text = "if: contains(toJSON( steps ), 'x') && steps[matrix.x].outcome\n\
            a: ${{ steps . vault . outputs [ 'T' ] }} ${{ toJSON(steps.*.outputs) }} (steps)\n\
            b: all (steps), steps[0] and steps.* of a recipe";
        let found: Vec<_> = uses(text, &(1..4), "vault");
        let shown: Vec<_> = found
            .iter()
            .map(|found| (found.line, found.text, found.output))
            .collect();
        assert_eq!(
            shown,
            [
                (1, "steps", None),
                (1, "steps", None),
                (2, "steps . vault . outputs [ 'T' ]", Some("T")),
                (2, "steps", None),
            ]
        );
    }

    #[test]
    fn a_use_of_the_whole_step_is_found() {
        let text = "\n\nc: ${{ toJson(steps.vault.outputs) }} steps.vault";
        let shown: Vec<_> = uses(text, &(3..4), "vault")
            .into_iter()
            .map(|found| found.text)
            .collect();
        assert_eq!(shown, ["steps.vault.outputs", "steps.vault"]);
    }
}
