//! Query strings, decoded as the URL standard says (section 5.1, application/x-www-form-urlencoded).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::problem::Problem;

/// The name and the value of a parameter, decoded.
pub type Parameter<'q> = (Cow<'q, str>, Cow<'q, str>);

/// A parameter that a resource knows.
pub struct Known {
    /// Its name.
    pub name: &'static str,
    /// The most times that it may be given.
    pub most: usize,
}

/// The parameters of a query, each of which has to be known. The time is proportional to the length of the query.
///
/// # Errors
/// [`Problem::InvalidParameter`] names a parameter that is unknown, given too often or not UTF-8.
pub fn parameters<'q>(query: &'q str, known: &[Known]) -> Result<Vec<Parameter<'q>>, Problem> {
    let mut counts = vec![0; known.len()];
    let mut parameters: Vec<Parameter<'q>> = Vec::new();
    for part in query.split('&') {
        for (name, value) in form_urlencoded::parse(part.as_bytes()) {
            let invalid =
                |message: String| Problem::InvalidParameter { name: name.clone().into_owned(), message };
            // Decoding would replace invalid bytes, and the query would ask for something else.
            if percent_decode_str(part).decode_utf8().is_err() {
                return Err(invalid("is not UTF-8".into()));
            }
            let Some(place) = known.iter().position(|known| known.name == name) else {
                let names: Vec<_> = known.iter().map(|known| known.name).collect();
                return Err(invalid(format!("is unknown; known here: {}", names.join(", "))));
            };
            counts[place] += 1;
            match known[place].most {
                1 if counts[place] > 1 => return Err(invalid("is given twice".into())),
                most if counts[place] > most => {
                    return Err(invalid(format!("may be given {most} times at most")));
                }
                _ => {}
            }
            parameters.push((name, value));
        }
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Known; 2] = [Known { name: "a", most: 1 }, Known { name: "b", most: 2 }];

    fn problem(query: &str) -> String {
        parameters(query, &KNOWN).unwrap_err().to_string()
    }

    #[test]
    fn parameters_are_decoded_in_their_order() {
        let found = parameters("b=1+1&a=%C3%A9&b=&&", &KNOWN).unwrap();
        assert!(found.iter().map(|(name, value)| (&**name, &**value)).eq([
            ("b", "1 1"),
            ("a", "\u{e9}"),
            ("b", "")
        ]));
    }

    #[test]
    fn the_parameter_at_fault_is_named() {
        assert_eq!(problem("a=1&c=1"), "parameter 'c' is unknown; known here: a, b");
        assert_eq!(problem("a=1&a=2"), "parameter 'a' is given twice");
        assert_eq!(problem("b=1&b=1&b=1"), "parameter 'b' may be given 2 times at most");
        assert_eq!(problem("b=%ff"), "parameter 'b' is not UTF-8");
    }

    #[test]
    fn a_long_query_is_refused_at_its_first_unknown_name() {
        let long = "x=1&".repeat(200_000);
        assert!(problem(&long).contains("unknown"));
    }
}
