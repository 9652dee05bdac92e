//! Where `limits.memory` goes: one table of the users of memory, each with its share, computed once
//! at start. Every user enforces its own share when it takes memory; nothing polls and adjusts.
//!
//! The process itself has a fixed share and the door a quarter of everything; what is left is shared
//! by percent, but for a tenth: under overload the process takes a quarter more than the shares say,
//! which are what was asked for and not the allocator's pages. A share above its user's ceiling stays with the page cache.

/// Who takes memory, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// Code, stacks, the catalogue, counters: what nobody below accounts for.
    Process,
    /// Requests in flight, from their first byte until the store has them.
    Door,
    /// Accepted records that are not in a segment yet.
    Heads,
    /// Encoding of full heads.
    Sealing,
    /// Segments being rewritten as one.
    Keeper,
    /// Rows, counts and answers of running queries.
    Queries,
    /// Directories and dictionaries of segments and the index over templates, kept between queries.
    Directories,
    /// Waterfalls of traces that were looked at last.
    Layouts,
    /// Buffers of sockets.
    Connections,
    /// Large answers until they are read.
    Answers,
}

/// The least `limits.memory`: room for every floor of the table.
pub(crate) const MEMORY_MIN: u64 = 64_000_000;

/// One row of the table, in bytes.
struct Row {
    user: User,
    share: Share,
    floor: u64,
    ceiling: u64,
}

enum Share {
    Fixed,
    /// Percent of `limits.memory`.
    OfAll(u64),
    /// Percent of what fixed shares and shares of all leave.
    OfRest(u64),
}

const KB: u64 = 1_000;
const MB: u64 = 1_000_000;

/// The split. Floors: a request of a sixteenth of the budget passes the door twice (compressed and
/// not) and fits the heads; two queries unpack a block of 2 MiB each.
const TABLE: [Row; 10] = [
    // Measured: 18 MB of resident memory when nothing is stored and nobody asks.
    row(User::Process, Share::Fixed, 20 * MB, 20 * MB),
    // reliability: a quarter, by decompressed bytes. No ceiling: large requests are somebody's wish.
    row(User::Door, Share::OfAll(25), 16 * MB, u64::MAX),
    // A head of each signal and one with the sealer, 16 MiB each: larger heads gain 1 % of disk.
    row(User::Heads, Share::OfRest(35), 11_700 * KB, 48 << 20),
    row(User::Sealing, Share::OfRest(14), 3_900 * KB, 32 << 20),
    // About 1.3 MB per head of spans of 450 B that become one segment; 0.25 M rows at a time need at
    // most 3 % more disk than 1 M (docs/performance.md).
    row(User::Keeper, Share::OfRest(11), 3_800 * KB, 96 << 20),
    row(User::Queries, Share::OfRest(16), 4_400 * KB, 256 << 20),
    row(User::Directories, Share::OfRest(5), 1_300 * KB, 64 << 20),
    // 8 MB per 100,000 spans.
    row(User::Layouts, Share::OfRest(4), 1_100 * KB, 32 << 20),
    row(User::Connections, Share::OfRest(3), 800 * KB, 64 << 20),
    row(User::Answers, Share::OfRest(2), 500 * KB, 64 << 20),
];

const fn row(user: User, share: Share, floor: u64, ceiling: u64) -> Row {
    Row {
        user,
        share,
        floor,
        ceiling,
    }
}

const _: () = {
    let mut at = 0;
    while at < TABLE.len() {
        assert!(
            TABLE[at].user as usize == at,
            "the table has the order of the enum"
        );
        at += 1;
    }
};

/// The shares of a given `limits.memory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    total: u64,
    bytes: [u64; TABLE.len()],
}

impl User {
    pub(crate) const ALL: [User; TABLE.len()] = [
        User::Process,
        User::Door,
        User::Heads,
        User::Sealing,
        User::Keeper,
        User::Queries,
        User::Directories,
        User::Layouts,
        User::Connections,
        User::Answers,
    ];

    /// A label of the metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            User::Process => "process",
            User::Door => "door",
            User::Heads => "heads",
            User::Sealing => "sealing",
            User::Keeper => "keeper",
            User::Queries => "queries",
            User::Directories => "directories",
            User::Layouts => "layouts",
            User::Connections => "connections",
            User::Answers => "answers",
        }
    }

    /// What it is for, for people.
    pub(crate) const fn what(self) -> &'static str {
        match self {
            User::Process => "the program itself",
            User::Door => "requests in flight",
            User::Heads => "records not yet in a segment",
            User::Sealing => "encoding of segments",
            User::Keeper => "rewriting of segments",
            User::Queries => "running queries",
            User::Directories => "directories of segments",
            User::Layouts => "waterfalls looked at last",
            User::Connections => "connections",
            User::Answers => "large answers until they are read",
        }
    }
}

impl Budget {
    /// How many queries may run at once: one per core, and no more than memory has room for. A query
    /// holds the heads of its moment until it ends, and under load new ones fill meanwhile: each
    /// running query may keep another share of heads. In a container of 256 MB two do (measured: 61 MB
    /// on top of the peak without readers), which is what the part of it that `limits.memory` leaves
    /// bears.
    pub(crate) fn queries_at_once(&self, cores: usize) -> usize {
        let room = self.total / 2 / self.of(User::Heads);
        cores.clamp(1, room.max(1) as usize)
    }

    /// Splits `limits.memory`, given in bytes.
    ///
    /// # Errors
    /// Less than [`MEMORY_MIN`], told for the setting.
    pub(crate) fn split(total: u64) -> Result<Budget, String> {
        if total < MEMORY_MIN {
            return Err(format!(
                "is {total} bytes; the least is {} MB: give watchpost more memory",
                MEMORY_MIN / MB
            ));
        }
        let bounded = |row: &Row, wanted: u64| wanted.max(row.floor).min(row.ceiling);
        let first: u64 = TABLE
            .iter()
            .map(|row| match row.share {
                Share::Fixed => row.floor,
                Share::OfAll(percent) => bounded(row, total / 100 * percent),
                Share::OfRest(_) => 0,
            })
            .sum();
        let rest = total - first;
        let bytes = std::array::from_fn(|at| {
            let row = &TABLE[at];
            match row.share {
                Share::Fixed => row.floor,
                Share::OfAll(percent) => bounded(row, total / 100 * percent),
                Share::OfRest(percent) => bounded(row, rest / 100 * percent),
            }
        });
        Ok(Budget { total, bytes })
    }

    /// `limits.memory`.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// The share of one user, in bytes.
    pub(crate) const fn of(&self, user: User) -> u64 {
        self.bytes[user as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_exceed_the_whole_and_keep_their_floors() {
        let sizes = (64..=4096)
            .map(|mb| mb * MB)
            .chain([MEMORY_MIN, 256 << 20, 1 << 30]);
        for total in sizes {
            let budget = Budget::split(total).expect("at least the minimum");
            let sum: u64 = User::ALL.iter().map(|user| budget.of(*user)).sum();
            assert!(sum <= total, "{sum} of {total}");
            for (row, user) in TABLE.iter().zip(User::ALL) {
                let share = budget.of(user);
                assert!(
                    (row.floor..=row.ceiling).contains(&share),
                    "{user:?} has {share} of {total}"
                );
            }
            assert!(budget.of(User::Heads) <= 64 << 20, "design: all heads");
        }
    }

    #[test]
    fn queries_at_once_are_bounded_by_cores_and_by_the_heads_they_hold() {
        let at_once = |total, cores| {
            let budget = Budget::split(total).expect("at least the minimum");
            budget.queries_at_once(cores)
        };
        // A container of 256 MB: two, however many cores.
        assert_eq!(
            [1, 2, 16].map(|n| at_once((256 << 20) * 6 / 10, n)),
            [1, 2, 2]
        );
        assert_eq!([1, 4, 64].map(|n| at_once(1 << 30, n)), [1, 4, 10]);
        assert_eq!(at_once(MEMORY_MIN, 8), 2);
    }

    #[test]
    fn more_memory_never_makes_a_share_smaller() {
        let mut before = Budget::split(MEMORY_MIN).expect("the minimum");
        for mb in 65..4096 {
            let budget = Budget::split(mb * MB).expect("more than the minimum");
            for user in User::ALL {
                assert!(budget.of(user) >= before.of(user), "{user:?} at {mb} MB");
            }
            before = budget;
        }
    }

    #[test]
    fn too_little_is_told_with_what_is_needed() {
        let refused = Budget::split(MEMORY_MIN - 1).expect_err("too little");
        assert!(
            refused.contains("63999999 bytes") && refused.contains("64 MB"),
            "{refused}"
        );
    }
}
