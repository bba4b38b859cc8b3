//! EC2-style filters: name and values, `*` and `?` as wildcards, values joined by OR, filters by AND.

/// One filter of a Describe call.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Filter {
    pub name: String,
    pub values: Vec<String>,
}

/// Whether `text` matches `pattern`: `*` is any run, `?` any one character, `\` takes the next literally.
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
                continue;
            }
            Some('?') => {
                p += 1;
                t += 1;
                continue;
            }
            Some('\\') if pattern.get(p + 1) == Some(&text[t]) => {
                p += 2;
                t += 1;
                continue;
            }
            Some(c) if *c == text[t] => {
                p += 1;
                t += 1;
                continue;
            }
            _ => {}
        }
        let Some((star_p, star_t)) = star else { return false };
        p = star_p + 1;
        t = star_t + 1;
        star = Some((star_p, t));
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Whether any of the resource's `values` for a filter matches any of the filter's.
pub fn any<S: AsRef<str>>(filter: &Filter, values: impl IntoIterator<Item = S>) -> bool {
    values.into_iter().any(|v| filter.values.iter().any(|p| matches(p, v.as_ref())))
}

/// The filters every tagged resource has: `tag:KEY`, `tag-key`, `tag-value`. `None`: not such a one.
pub fn tags(filter: &Filter, tags: &crate::tag::Tags) -> Option<bool> {
    if let Some(key) = filter.name.strip_prefix("tag:") {
        return Some(tags.get(key).is_some_and(|value| any(filter, [value])));
    }
    match filter.name.as_str() {
        "tag-key" => Some(any(filter, tags.keys())),
        "tag-value" => Some(any(filter, tags.values())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*b*", "abc", true),
            ("a\\*c", "a*c", true),
            ("a\\*c", "abc", false),
            ("abc", "ABC", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
