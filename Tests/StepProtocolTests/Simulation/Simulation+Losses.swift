internal import Cluster
internal import Determinism
internal import StepProtocol

/// Hosts that are lost for ever, with everything on their disks.
extension Simulation {
    func loseHost() {
        if isCalm || isFinished { return }
        queue.insert(.loss, at: now + 500 + Int64(hostRandom.below(8_000)))
        let candidates = hosts.values.filter { $0.disk.number != nil }.sorted { $0.index < $1.index }
        guard candidates.count > 1 else { return }
        let host = candidates[Int(hostRandom.below(UInt64(candidates.count)))]
        // A run whose database and only copy of a slice are gone is over.
        if isDatabaseLost, let lostRecord, !canBeAdopted(lostRecord, without: host) { return }
        faults["host is lost", default: 0] += 1
        note("FAULT host-\(host.index) is lost with shard-\(host.disk.number ?? -1)")
        if let node = shards.values.first(where: { $0.host === host })?.node { stopShard(node) }
        let number = host.disk.number ?? -1
        let known = isDatabaseLost ? lostRecord : database.record
        host.disk = ToyDisk()
        (host.recordCopy, host.applied) = (nil, [])
        lostNumbers.insert(number)
        if scenario.sabotage == .comesBackEmpty { host.disk.number = number }
        if hostRandom.below(3) == 0, hosts.count > 2, known?.owners.isEmpty == false {
            hosts[host.index] = nil
        } else {
            // A machine of the same name takes its place, with an empty disk.
            queue.insert(.startShard(host: host.index), at: now + 1 + Int64(hostRandom.below(6_000)))
        }
        let owners = known?.owners ?? [:]
        let owned = owners.filter { $0.value == number }.keys
        let isCopied = owned.allSatisfy { slice in hasCopy(of: slice, known) }
        // It may have been the keeper of what another lost one owned.
        let orphans = owners.filter { slice, owner in
            owner != number && !isThere(slice, owner) && !hasCopy(of: slice, known)
        }
        feats[isCopied ? "lost with copies" : "lost without copies", default: 0] += 1
        if !isCopied { lostForEver.insert(MemberID(.shard, number)) }
        for owner in orphans.values { lostForEver.insert(MemberID(.shard, owner)) }
        if !isCopied || !orphans.isEmpty { hasLostSteps = true }
    }

    /// Whether the disk of a slice's owner has it.
    func isThere(_ slice: SliceName, _ owner: Int, without lost: ShardHost? = nil) -> Bool {
        hosts.values.contains {
            $0 !== lost && $0.disk.number == owner && $0.disk.owned[Toy.index(slice)] != nil
        }
    }

    /// Whether the disk of its keeper has a copy that counts.
    func hasCopy(of slice: SliceName, _ record: CoordinatorRecord?, without lost: ShardHost? = nil) -> Bool {
        guard let record, let keeper = record.keepers[slice], record.owners.values.contains(keeper) else {
            return false
        }
        return hosts.values.contains {
            $0 !== lost && $0.disk.number == keeper
                && $0.disk.kept[Toy.index(slice)]?.classVersion == record.classVersion
        }
    }
}
