//! Rows by number, with a digest of them all and a point-in-time walk that changes do not disturb.
//!
//! While a walk is under way, the first change of a row it has not reached keeps what the row was at its start aside;
//! the walk hands that out in its place. A place that was vacant then is kept aside as vacant.

use std::collections::BTreeMap;

/// What a slab holds.
pub trait Row {
    /// The part of a row that an image carries.
    type Kept;

    /// A copy of that part.
    fn keep(&self) -> Self::Kept;

    /// Hash of that part.
    fn hash(&self) -> u128;
}

/// Where a row lies; meaningless once it is removed.
pub type Place = u32;

/// Rows by number.
#[derive(Debug)]
pub struct Slab<R: Row> {
    rows: Vec<Option<R>>,
    vacant: Vec<Place>,
    sum: u128,
    walk: Option<Walk<R::Kept>>,
}

/// What a walk came upon.
#[derive(Debug)]
pub enum Visit<K> {
    /// A row, as it was when the walk began.
    Row(K),
    /// Nothing was here.
    Vacant,
    /// The walk is over.
    Done,
}

#[derive(Debug)]
struct Walk<K> {
    next: usize,
    end: usize,
    aside: BTreeMap<usize, Option<K>>,
}

impl<R: Row> Slab<R> {
    pub const fn new() -> Self {
        Self { rows: Vec::new(), vacant: Vec::new(), sum: 0, walk: None }
    }

    /// Makes room for so many further rows at once.
    pub fn reserve(&mut self, rows: usize) {
        self.rows.reserve(rows);
    }

    /// Where the next row will lie.
    pub fn next_place(&self) -> Place {
        let end = || Place::try_from(self.rows.len()).expect("memory ends before 2^32 rows");
        self.vacant.last().copied().unwrap_or_else(end)
    }

    pub fn insert(&mut self, row: R) -> Place {
        self.sum = self.sum.wrapping_add(row.hash());
        let place = self.next_place();
        match self.vacant.pop() {
            Some(_) => {
                self.keep_aside(place);
                self.rows[place as usize] = Some(row);
            }
            None => self.rows.push(Some(row)),
        }
        place
    }

    /// Changes a row.
    pub fn update<T>(&mut self, place: Place, change: impl FnOnce(&mut R) -> T) -> T {
        self.keep_aside(place);
        let row = self.rows[place as usize].as_mut().expect("a place is used only while its row lives");
        self.sum = self.sum.wrapping_sub(row.hash());
        let result = change(row);
        self.sum = self.sum.wrapping_add(row.hash());
        result
    }

    /// Changes what of a row no image carries.
    pub fn arrange<T>(&mut self, place: Place, change: impl FnOnce(&mut R) -> T) -> T {
        change(self.rows[place as usize].as_mut().expect("a place is used only while its row lives"))
    }

    pub fn remove(&mut self, place: Place) -> R {
        self.keep_aside(place);
        let row = self.rows[place as usize].take().expect("a place is used only while its row lives");
        self.sum = self.sum.wrapping_sub(row.hash());
        self.vacant.push(place);
        row
    }

    pub fn get(&self, place: Place) -> &R {
        self.rows[place as usize].as_ref().expect("a place is used only while its row lives")
    }

    /// All rows, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (Place, &R)> {
        (0..).zip(&self.rows).filter_map(|(place, row)| Some((place, row.as_ref()?)))
    }

    pub fn len(&self) -> usize {
        self.rows.len() - self.vacant.len()
    }

    /// Sum of all rows' hashes: the same for the same rows, wherever they lie.
    pub const fn sum(&self) -> u128 {
        self.sum
    }

    /// The same rows at the same places.
    pub fn twin(&self) -> Self
    where
        R: Clone,
    {
        Self { rows: self.rows.clone(), vacant: self.vacant.clone(), sum: self.sum, walk: None }
    }

    /// Starts a walk over the rows as they are now.
    pub fn begin_walk(&mut self) {
        assert!(self.walk.is_none(), "one walk at a time");
        self.walk = Some(Walk { next: 0, end: self.rows.len(), aside: BTreeMap::new() });
    }

    /// Looks at the walk's next place. After `Done` there is no walk.
    pub fn visit(&mut self) -> Visit<R::Kept> {
        let Some(walk) = &mut self.walk else { return Visit::Done };
        if walk.next == walk.end {
            assert!(walk.aside.is_empty(), "only places not yet reached are kept aside");
            self.walk = None;
            return Visit::Done;
        }
        let place = walk.next;
        walk.next += 1;
        let kept = walk.aside.remove(&place).unwrap_or_else(|| self.rows[place].as_ref().map(R::keep));
        kept.map_or(Visit::Vacant, Visit::Row)
    }

    /// Gives the walk up.
    pub fn end_walk(&mut self) {
        self.walk = None;
    }

    fn keep_aside(&mut self, place: Place) {
        let Some(walk) = &mut self.walk else { return };
        let place = place as usize;
        if (walk.next..walk.end).contains(&place) {
            walk.aside.entry(place).or_insert_with(|| self.rows[place].as_ref().map(R::keep));
        }
    }
}
