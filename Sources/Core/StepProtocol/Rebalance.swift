public import Cluster
internal import Determinism

/// Which shard should own which slice.
public enum Rebalance {
    /// The first division: contiguous ranges in order of the shards, of sizes that differ by at most one.
    public static func initial(shards: [Int], sliceCount: Int, denseSliceCount: Int) -> [SliceName: Int] {
        guard !shards.isEmpty else { return [:] }
        var owners: [SliceName: Int] = [:]
        for (count, name) in [(sliceCount, SliceName.centers), (denseSliceCount, SliceName.dense)]
        where count > 0 {
            for (range, shard) in zip(ReductionTree(leafCount: count).evenRanges(shards.count), shards) {
                for slice in range { owners[name(slice)] = shard }
            }
        }
        return owners
    }

    /// The fewest moves after which the shards own numbers of slices that differ by at most one, of either kind.
    ///
    /// - Parameters:
    ///   - owners: of every slice. Owners that are not among `shards` keep nothing.
    ///   - shards: those that may own slices.
    public static func moves(owners: [SliceName: Int], shards: [Int]) -> [SliceMove] {
        guard !shards.isEmpty else { return [] }
        return [false, true].flatMap { isDense in
            moves(owners.filter { $0.key.isDense == isDense }, shards.sorted())
        }
    }

    /// The moves that even out ownership while others are under way: these go on if they still make sense.
    ///
    /// - Parameters:
    ///   - underWay: planned when other shards were there.
    ///   - owners: of every slice, as long as it has not arrived.
    ///   - shards: those that may own slices.
    public static func moves(
        after underWay: [SliceMove], owners: [SliceName: Int], shards: [Int]
    ) -> [SliceMove] {
        var planned = underWay.filter { owners[$0.slice] == $0.from.number && shards.contains($0.to.number) }
        var after = owners
        for move in planned { after[move.slice] = move.to.number }
        // A slice that is on its way already is sent elsewhere from its owner, not from where it is going.
        for move in moves(owners: after, shards: shards) {
            planned.removeAll { $0.slice == move.slice }
            guard let owner = owners[move.slice], owner != move.to.number else { continue }
            planned.append(SliceMove(slice: move.slice, from: MemberID(.shard, owner), to: move.to))
        }
        return planned
    }

    /// Who keeps a second copy of each slice: shards about equally, each on another host than the owner if there is one. Keepers
    /// stay who they are as long as that holds: a copy is costly to make.
    ///
    /// - Parameters:
    ///   - current: the keepers so far.
    ///   - owners: of every slice.
    ///   - candidates: the shards that may keep copies, and the host of each.
    ///   - leaving: those of them that are on their way out: they keep what they have, and get nothing new if others can.
    /// - Returns: no keeper for a slice that only its owner could keep.
    public static func keepers(
        current: [SliceName: Int], owners: [SliceName: Int], candidates: [Int: String], leaving: Set<Int> = []
    ) -> [SliceName: Int] {
        guard candidates.count > 1 else { return [:] }
        var keepers: [SliceName: Int] = [:]
        for isDense in [false, true] {
            let slices = owners.keys.filter { $0.isDense == isDense }.sorted()
            // One more than the equal share may stay where it is.
            let limit = (slices.count + candidates.count - 1) / candidates.count + 1
            var load: [Int: Int] = [:]
            func fitting(_ slice: SliceName) -> [Int] {
                let others = candidates.keys.filter { $0 != owners[slice] }
                let host = owners[slice].flatMap { candidates[$0] }
                let elsewhere = others.filter { candidates[$0] != host }
                return (elsewhere.isEmpty ? others : elsewhere).sorted()
            }
            for slice in slices {
                guard let keeper = current[slice], fitting(slice).contains(keeper), load[keeper] ?? 0 < limit else {
                    continue
                }
                keepers[slice] = keeper
                load[keeper, default: 0] += 1
            }
            for slice in slices where keepers[slice] == nil {
                let all = fitting(slice)
                let staying = all.filter { !leaving.contains($0) }
                guard
                    let keeper = (staying.isEmpty ? all : staying).min(by: {
                        (load[$0] ?? 0, $0) < (load[$1] ?? 0, $1)
                    })
                else { continue }
                keepers[slice] = keeper
                load[keeper, default: 0] += 1
            }
        }
        return keepers
    }

    private static func moves(_ owners: [SliceName: Int], _ shards: [Int]) -> [SliceMove] {
        var held = Dictionary(grouping: owners.keys.sorted(), by: { owners[$0] ?? -1 })
        let (share, rest) = owners.count.quotientAndRemainder(dividingBy: shards.count)
        // Whoever has most keeps one more, so that as little as possible moves.
        let byCount = shards.sorted { (held[$0]?.count ?? 0, $1) > (held[$1]?.count ?? 0, $0) }
        let target = Dictionary(
            uniqueKeysWithValues: byCount.enumerated().map { ($0.element, share + ($0.offset < rest ? 1 : 0)) })
        var excess: [(slice: SliceName, from: Int)] = []
        for owner in held.keys.sorted() {
            let slices = held[owner] ?? []
            // From the end, so that what stays is contiguous, and so is what goes.
            let going = slices.suffix(max(0, slices.count - (target[owner] ?? 0)))
            excess += going.map { ($0, owner) }
            held[owner] = slices.dropLast(going.count)
        }
        var moves: [SliceMove] = []
        for shard in shards {
            let missing = max(0, (target[shard] ?? 0) - (held[shard]?.count ?? 0))
            moves += excess.prefix(missing).map {
                SliceMove(slice: $0.slice, from: MemberID(.shard, $0.from), to: MemberID(.shard, shard))
            }
            excess.removeFirst(min(missing, excess.count))
        }
        return moves
    }
}
