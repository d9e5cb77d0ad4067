//! Query strings, decoded as the URL standard says (section 5.1, application/x-www-form-urlencoded).

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::problem::Problem;

/// The name and the value of a parameter, decoded.
pub type Parameter<'q> = (Cow<'q, str>, Cow<'q, str>);

/// The parameters of a query. Only those in `repeatable` may come twice.
///
/// # Errors
/// [`Problem::InvalidParameter`] names a parameter that is given twice or is not UTF-8.
pub fn parameters<'q>(query: &'q str, repeatable: &[&str]) -> Result<Vec<Parameter<'q>>, Problem> {
    let invalid = |name: &str, message: &str| Problem::InvalidParameter {
        name: name.to_owned(),
        message: message.to_owned(),
    };
    let mut parameters: Vec<Parameter<'q>> = Vec::new();
    for part in query.split('&') {
        for (name, value) in form_urlencoded::parse(part.as_bytes()) {
            // Decoding would replace invalid bytes, and the query would ask for something else.
            if percent_decode_str(part).decode_utf8().is_err() {
                return Err(invalid(&name, "is not UTF-8"));
            }
            if !repeatable.contains(&name.as_ref()) && parameters.iter().any(|(seen, _)| *seen == name) {
                return Err(invalid(&name, "is given twice"));
            }
            parameters.push((name, value));
        }
    }
    Ok(parameters)
}
