//! Where watches lie: in blocks that never move, so that one more costs no copying and leaves little room unused.

use std::ops::{Index, IndexMut};

use super::Row;

/// All rows, found by number.
#[derive(Debug, Default)]
pub(super) struct Rows {
    blocks: Vec<Vec<Row>>,
}

impl Rows {
    /// Adds a row; its number.
    pub(super) fn push(&mut self, row: Row) -> u32 {
        if self.blocks.last().is_none_or(|block| block.len() == BLOCK_ROWS) {
            self.blocks.push(Vec::with_capacity(BLOCK_ROWS));
        }
        let before = (self.blocks.len() - 1) * BLOCK_ROWS;
        let block = self.blocks.last_mut().expect("it was just seen to");
        block.push(row);
        u32::try_from(before + block.len() - 1).expect("connections and their watches are bounded far below 2^32")
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &Row> {
        self.blocks.iter().flatten()
    }

    /// Bytes held for all of them.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<Vec<Row>>() + self.blocks.len() * BLOCK_ROWS * size_of::<Row>()
    }
}

impl Index<u32> for Rows {
    type Output = Row;

    fn index(&self, at: u32) -> &Row {
        &self.blocks[at as usize / BLOCK_ROWS][at as usize % BLOCK_ROWS]
    }
}

impl IndexMut<u32> for Rows {
    fn index_mut(&mut self, at: u32) -> &mut Row {
        &mut self.blocks[at as usize / BLOCK_ROWS][at as usize % BLOCK_ROWS]
    }
}

/// Rows of a block: some pages.
const BLOCK_ROWS: usize = 256;
