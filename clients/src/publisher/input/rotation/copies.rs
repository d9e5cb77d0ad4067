//! The copies that copytruncate leaves of a log.

use std::path::Path;
use std::rc::Rc;

use super::sibling::Sibling;
use super::{Found, Search};
use crate::input::chunk::{News, Stop};
use crate::input::content::Content;
use crate::input::origin::{Origin, Position, last_write};
use crate::input::start::{Evidence, Start};
use crate::input::tail::{MARK, Tail};

impl Search<'_> {
    /// The copies that copytruncate left of `truncated`: the rest of what it held from its position, and what it held
    /// later. It becomes a later content of its file than they.
    pub fn copies(&mut self, truncated: &mut Tail<Content>) -> Result<Found, Stop> {
        let mut found = Found::default();
        let (generation, position) = (truncated.origin().generation, truncated.position());
        let evidence = truncated.evidence();
        let copies = self.find_copies(truncated, (generation, position), &evidence, &mut found)?;
        if copies == 0 {
            // Lines that stand before the position were sent; there may have been more.
            truncated.send_rest(&self.context.sender)?;
            if !evidence.is_empty() {
                found.news.push(truncated_away(self.path, position));
            }
        }
        let failed = |error| Stop::failed(self.path, error);
        truncated.begin_anew(generation + copies.max(1)).map_err(failed)?;
        Ok(found)
    }

    /// As [`Self::copies`], for a file that was truncated since its checkpoint, if it was.
    pub(super) fn find_copies_since(
        &mut self,
        start: &Start,
        tail: &mut Tail<Content>,
        found: &mut Found,
    ) -> Result<(), Stop> {
        let is_as_before = tail.origin().generation == start.generation && !self.is_replaced(start, tail)?;
        if is_as_before || tail.copy().is_some() {
            return Ok(());
        }
        let copies = self.find_copies(tail, (start.generation, start.position), &start.evidence(), found)?;
        if copies == 0 && !start.evidence().is_empty() {
            found.news.push(truncated_away(&tail.origin().path, start.position));
        }
        let failed = |error| Stop::failed(self.path, error);
        tail.begin_anew(start.generation + copies.max(1)).map_err(failed)
    }

    /// True if a file that begins as before was truncated nevertheless, and began with the same lines again: there is a
    /// copy of it with more lines than it has, or from before its last write with as many.
    fn is_replaced(&self, start: &Start, tail: &Tail<Content>) -> Result<bool, Stop> {
        let failed = |error| Stop::failed(self.path, error);
        let metadata = tail.metadata().map_err(failed)?;
        for sibling in self.siblings.iter().filter(|sibling| self.family.has(&sibling.path)) {
            if self.is_known(sibling) || !self.holds(sibling, &start.evidence())? {
                continue;
            }
            let Ok(ending) =
                Content::open(&sibling.path, &self.context.reading).and_then(|copy| copy.ending(MARK))
            else {
                continue;
            };
            let has_less = !tail.content().has(&ending).map_err(failed)?;
            let is_written_anew = metadata.len() <= ending.length && last_write(&metadata) > sibling.written;
            if has_less || is_written_anew {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Opens the copies of a file that was truncated, and returns how many there are: the oldest that holds what was read
    /// of it and was not read yet, from the `position` of that content, and all later ones from their beginning. If the
    /// file was renamed since, one that was created after its last write is not a copy.
    fn find_copies(
        &mut self,
        truncated: &Tail<Content>,
        (generation, position): (u32, Position),
        evidence: &Evidence,
        found: &mut Found,
    ) -> Result<u32, Stop> {
        let origin = truncated.origin();
        let Ok(written) = truncated.metadata().map(|metadata| last_write(&metadata)) else { return Ok(0) };
        let is_renamed = origin.path != origin.watched;
        let siblings = Rc::clone(&self.siblings);
        let mut candidates: Vec<_> = siblings.iter().collect();
        candidates.retain(|sibling| {
            let is_younger = sibling.order().is_some_and(|time| time > written);
            !(is_renamed && is_younger) && sibling.file != origin.file && !self.is_known(sibling)
        });
        candidates.sort_by_key(|sibling| sibling.order());
        let mut holders = Vec::new();
        for sibling in &candidates {
            if self.holds(sibling, evidence)? {
                holders.push(*sibling);
            }
        }
        if holders.is_empty() {
            // A copy that was read to its end, and nothing of what came after it: others may have followed.
            for sibling in
                siblings.iter().filter(|sibling| sibling.file != origin.file && self.is_known(sibling))
            {
                if self.holds(sibling, evidence)? {
                    holders.push(sibling);
                }
            }
        }
        let Some(first) = self.oldest(&holders) else { return Ok(0) };
        self.family.learn(&first.path);
        let is_later = |sibling: &&Sibling| {
            sibling.order() >= first.order()
                && sibling.file != first.file
                && self.family.has(&sibling.path)
                && !self.has_plain_twin(sibling)
        };
        let later = candidates.iter().copied().filter(is_later);
        let starts = std::iter::once(position).chain(std::iter::repeat(Position::default()));
        let copies: Vec<_> = std::iter::once(first).chain(later).zip(starts).zip(generation..).collect();
        for ((copy, start), generation) in &copies {
            // A later run may have to find the same copies again.
            let opened = evidence.since.unwrap_or_default();
            let origin = Origin { opened, ..origin.with_generation(*generation, *start) };
            let tail = Tail::open_copy(&copy.path, origin, false, self.context);
            found.tails.push(tail.map_err(|error| Stop::failed(&copy.path, error))?);
        }
        Ok(copies.len() as u32)
    }
}

fn truncated_away(path: &Path, position: Position) -> News {
    News::Gap(format!(
        "{} was truncated or overwritten after its line {} was sent, and no copy of it was found: lines that stood \
         behind that one were not sent",
        path.display(),
        position.lines
    ))
}
