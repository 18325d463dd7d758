//! The tutorial shows the file that its later steps include.

const TUTORIAL: &str = include_str!("../../docs/tutorial.md");
const LIBRARIAN: &str = include_str!("../../examples/library/librarian.rs");

/// The paragraphs of the code that a reader is told to write, without the lines for tests.
fn written() -> String {
    let steps = TUTORIAL.split("\n## ").filter(|step| step.starts_with("1.") || step.starts_with("2."));
    let blocks = steps.flat_map(|step| step.split("```").filter_map(|block| block.strip_prefix("rust\n")));
    let lines = blocks.flat_map(str::lines).filter(|line| !line.starts_with("# "));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn the_tutorial_writes_the_file_that_it_includes() {
    let mut written: Vec<String> = written().lines().map(str::to_owned).collect();
    let mut included: Vec<String> =
        LIBRARIAN.lines().filter(|line| !line.starts_with("// ")).map(str::to_owned).collect();
    // The imports stand above the protocol in the file, and below it on the page.
    written.sort();
    included.sort();
    written.retain(|line| !line.is_empty());
    included.retain(|line| !line.is_empty());
    assert_eq!(written, included);
}
