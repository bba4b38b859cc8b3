//! GetConsoleScreenshot: the last screen of a console's text, as a monitor at a serial port would show
//! it, drawn as a picture. Pure.

use jpeg_encoder::{ColorType, Encoder};

const COLUMNS: u16 = 80;
const ROWS: u16 = 25;
const CELL: (u16, u16) = (8, 16);
const QUALITY: u8 = 90;
const GREY: u8 = 0xAA;

/// A JPEG of 640 by 400 pixels.
pub fn render(console: &[u8]) -> Vec<u8> {
    let width = COLUMNS * CELL.0;
    let pixels = draw(&screen(console), usize::from(width));
    let mut jpeg = Vec::new();
    Encoder::new(&mut jpeg, QUALITY)
        .encode(&pixels, width, ROWS * CELL.1, ColorType::Luma)
        .expect("a vector takes every picture of this size");
    jpeg
}

/// What the terminal shows in the end, row by row.
fn screen(console: &[u8]) -> Vec<Vec<char>> {
    let mut terminal = vt100::Parser::new(ROWS, COLUMNS, 0);
    let mut before = 0;
    for &byte in console {
        // A line's end alone, as programs write it, where no terminal's driver is in between.
        if byte == b'\n' && before != b'\r' {
            terminal.process(b"\r");
        }
        terminal.process(&[byte]);
        before = byte;
    }
    let cell = |row, column| {
        let cell = terminal.screen().cell(row, column);
        cell.and_then(|cell| cell.contents().chars().next()).unwrap_or(' ')
    };
    (0..ROWS).map(|row| (0..COLUMNS).map(|column| cell(row, column)).collect()).collect()
}

fn draw(screen: &[Vec<char>], width: usize) -> Vec<u8> {
    let (cell_width, cell_height) = (usize::from(CELL.0), usize::from(CELL.1));
    let mut pixels = vec![0; width * screen.len() * cell_height];
    for (row, line) in screen.iter().enumerate() {
        for (column, letter) in line.iter().enumerate() {
            // Each of the glyph's eight rows is two high.
            for (y, bits) in
                glyph(*letter).iter().enumerate().flat_map(|(y, b)| [(2 * y, b), (2 * y + 1, b)])
            {
                for x in (0..cell_width).filter(|x| bits >> x & 1 == 1) {
                    let at = (row * cell_height + y) * width + column * cell_width + x;
                    pixels[at] = GREY;
                }
            }
        }
    }
    pixels
}

/// Eight rows, the lowest bit leftmost. What the font lacks is a box.
fn glyph(letter: char) -> [u8; 8] {
    use font8x8::UnicodeFonts;
    let fonts: [Option<[u8; 8]>; 5] = [
        font8x8::BASIC_FONTS.get(letter),
        font8x8::LATIN_FONTS.get(letter),
        font8x8::BOX_FONTS.get(letter),
        font8x8::BLOCK_FONTS.get(letter),
        font8x8::GREEK_FONTS.get(letter),
    ];
    let unknown = [0, 0x7E, 0x42, 0x42, 0x42, 0x42, 0x7E, 0];
    fonts.into_iter().flatten().next().unwrap_or(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(console: &str) -> Vec<String> {
        let screen = screen(console.as_bytes());
        screen.iter().map(|row| row.iter().collect::<String>().trim_end().to_owned()).collect()
    }

    #[test]
    fn shows_the_last_screen() {
        let many: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let shown = text(&(many + "login: "));
        assert_eq!((shown[0].as_str(), shown[23].as_str()), ("line 76", "line 99"));
        assert_eq!(shown[24], "login:");
        let shown = text("gone\x1b[2J\x1b[3;5Hhere\r\nand\x1b[31m red\x1b[0m");
        assert_eq!(shown[..4], ["", "", "    here", "and red"]);
    }

    #[test]
    fn draws_letters_where_they_are() {
        let blank = draw(&screen(b""), 640);
        assert!(blank.iter().all(|pixel| *pixel == 0));
        let drawn = draw(&screen(b"\n I"), 640);
        let lit: Vec<(usize, usize)> = drawn
            .iter()
            .enumerate()
            .filter(|(_, pixel)| **pixel > 0)
            .map(|(at, _)| (at % 640 / 8, at / 640 / 16))
            .collect();
        assert!(!lit.is_empty() && lit.iter().all(|cell| *cell == (1, 1)), "{lit:?}");
    }

    #[test]
    fn is_a_jpeg() {
        let jpeg = render(b"hello");
        assert_eq!(jpeg[..3], [0xFF, 0xD8, 0xFF]);
        assert_eq!(jpeg[jpeg.len() - 2..], [0xFF, 0xD9]);
        assert_ne!(jpeg, render(b"hullo"));
    }
}
