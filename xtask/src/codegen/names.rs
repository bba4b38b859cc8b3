//! From AWS's names to Rust's.

/// The module of a service: `ec2-instance-connect` → `ec2_instance_connect`.
pub fn module(service: &str) -> String {
    service.replace('-', "_")
}

/// `TargetGroupARNs` → `target_group_arns`, by the same rule as boto3's argument names.
pub fn snake(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    // A plural acronym at the end is one word: `ARNs`.
    let plural = match chars.iter().rposition(|c| !c.is_ascii_uppercase() && *c != 's') {
        _ if !name.ends_with('s') => None,
        last => {
            let start = last.map_or(0, |i| i + 1);
            (chars.len() - start >= 3 && chars[start..chars.len() - 1].iter().all(|c| *c != 's'))
                .then_some(start)
        }
    };
    let mut out = String::new();
    for (i, c) in chars.iter().enumerate() {
        let in_plural = plural.is_some_and(|start| i > start);
        let begins_word = c.is_ascii_uppercase()
            && i > 0
            && !in_plural
            && (plural == Some(i)
                || chars[i - 1].is_ascii_lowercase()
                || chars[i - 1].is_ascii_digit()
                || (chars[i - 1] != '_'
                    && chars.get(i + 1).is_some_and(|next| next.is_ascii_lowercase())));
        if begins_word {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// A field's name: snake case, raw where it is a keyword.
pub fn field(name: &str) -> String {
    let name = snake(name);
    match name.as_str() {
        "as" | "box" | "const" | "else" | "enum" | "final" | "fn" | "for" | "if" | "impl"
        | "in" | "let" | "loop" | "match" | "mod" | "move" | "mut" | "priv" | "pub" | "ref"
        | "return" | "static" | "struct" | "trait" | "true" | "false" | "try" | "type" | "use"
        | "virtual" | "where" | "while" | "yield" => format!("r#{name}"),
        _ => name,
    }
}

/// A static's name.
pub fn screaming(name: &str) -> String {
    snake(name).to_ascii_uppercase()
}

/// First letter up: `stringFilter` → `StringFilter`.
pub fn upper_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::snake;

    #[test]
    fn as_boto3_names_arguments() {
        for (name, expected) in [
            ("AutoScalingGroupName", "auto_scaling_group_name"),
            ("TargetGroupARNs", "target_group_arns"),
            ("VPCZoneIdentifier", "vpc_zone_identifier"),
            ("SS", "ss"),
            ("BOOL", "bool"),
            ("Ipv6Addresses", "ipv6_addresses"),
            ("SSEDescription", "sse_description"),
            ("CidrIpv6", "cidr_ipv6"),
            ("EC2SecurityGroups", "ec2_security_groups"),
            ("instanceIDs", "instance_ids"),
            ("ARNs", "arns"),
            ("Ids", "ids"),
            ("maxResults", "max_results"),
            ("HttpCode", "http_code"),
            ("PublicIp", "public_ip"),
            ("S3Key", "s3_key"),
        ] {
            assert_eq!(snake(name), expected, "{name}");
        }
    }
}
