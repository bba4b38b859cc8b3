//! Tables on a terminal: aligned columns, a dim head, nothing else.

use std::fmt::Write;
use std::io::IsTerminal;

pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&str]) -> Table {
        Table { rows: vec![head.iter().map(|cell| cell.to_uppercase()).collect()] }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    pub fn render(&self, colour: bool) -> String {
        let columns = self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(|r| r[column].chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let _ = write!(line, "{cell:<width$}  ");
            }
            match line.trim_end() {
                line if number == 0 && colour => {
                    let _ = writeln!(text, "\x1b[2m{line}\x1b[0m");
                }
                line => {
                    let _ = writeln!(text, "{line}");
                }
            }
        }
        text
    }

    pub fn print(&self) {
        print!("{}", self.render(std::io::stdout().is_terminal()));
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_blanks() {
        let mut table = Table::new(&["zone", "state"]);
        table.row(["us-east-1a".into(), "available".into()]);
        assert_eq!(table.render(false), "ZONE        STATE\nus-east-1a  available\n");
    }
}
