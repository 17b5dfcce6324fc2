//! A table of slots, each with a generation that rises when it is emptied.

use super::ring::GENERATION_MASK;

/// Items found by slot, and told from earlier ones in the same slot by generation.
pub(super) struct Table<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
    capacity: u32,
}

impl<T> Table<T> {
    pub(super) fn new(capacity: u32) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), capacity }
    }

    /// Puts an item in; none if every slot is taken.
    pub(super) fn insert(&mut self, item: T) -> Option<u32> {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize].1 = Some(item);
            return Some(slot);
        }
        let slot = self.slots.len() as u32;
        (slot < self.capacity).then(|| {
            self.slots.push((0, Some(item)));
            slot
        })
    }

    pub(super) fn generation(&self, slot: u32) -> u32 {
        self.slots[slot as usize].0
    }

    pub(super) fn get(&self, slot: u32, generation: u32) -> Option<&T> {
        self.slots.get(slot as usize).filter(|(found, _)| *found == generation)?.1.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: u32, generation: u32) -> Option<&mut T> {
        self.slots.get_mut(slot as usize).filter(|(found, _)| *found == generation)?.1.as_mut()
    }

    pub(super) fn remove(&mut self, slot: u32) {
        let (generation, item) = &mut self.slots[slot as usize];
        assert!(item.take().is_some(), "a slot is emptied once");
        *generation = (*generation + 1) & GENERATION_MASK;
        self.free.push(slot);
    }
}
