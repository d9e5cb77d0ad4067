//! The versions of the schemas of a store: the component makes and upgrades them, and `sekali-host restore` looks whether
//! a copy has one that the component can use.

/// The schema of a store on SQLite or libSQL.
pub const SQLITE: Schema = Schema { version: 42, of_0_2: 31 };

/// The schema of a store on PostgreSQL.
pub const POSTGRES: Schema = Schema { version: 29, of_0_2: 25 };

/// A schema, by its versions. They only grow, and those between the two were of no release.
pub struct Schema {
    /// The version that this program makes and uses.
    pub version: i64,
    /// The version of 0.2, the only one that is upgraded.
    pub of_0_2: i64,
}

/// The state of a store that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// It has no tables yet.
    Missing,
    /// It is of 0.2, and has to be upgraded.
    Old,
    /// Nothing has to be done.
    Current,
}

impl Schema {
    /// The state of a store with this version of the schema, which is 0 where there are no tables.
    ///
    /// # Errors
    /// A sentence that says why the store cannot be used, and the remedy.
    pub fn state(&self, found: i64) -> Result<SchemaState, String> {
        let known = self.version;
        let refusal = match found {
            0 => return Ok(SchemaState::Missing),
            _ if found == self.of_0_2 => return Ok(SchemaState::Old),
            _ if found == known => return Ok(SchemaState::Current),
            _ if found > known => {
                format!("and this program knows versions up to {known}: use a newer program")
            }
            _ if found < self.of_0_2 => {
                "of a program before 0.2: start version 0.2 on it, send it a request, and then start this program".to_owned()
            }
            _ => "which no release has had: use the program that made it, or restore a backup of 0.2".to_owned(),
        };
        Err(format!("the database has schema version {found}, {refusal}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_upgraded_from_0_2_alone_and_the_others_are_told_what_helps() {
        for schema in [SQLITE, POSTGRES] {
            let state = |found| schema.state(found);
            assert_eq!(state(0), Ok(SchemaState::Missing));
            assert_eq!(state(schema.of_0_2), Ok(SchemaState::Old));
            assert_eq!(state(schema.version), Ok(SchemaState::Current));
            for (found, remedy) in [
                (1, "start version 0.2 on it"),
                (schema.of_0_2 - 1, "start version 0.2 on it"),
                (schema.of_0_2 + 1, "use the program that made it"),
                (schema.version + 1, "use a newer program"),
            ] {
                let refusal = state(found).unwrap_err();
                assert!(
                    refusal.contains(remedy) && refusal.contains(&format!("version {found}, ")),
                    "{refusal}"
                );
            }
        }
    }
}
