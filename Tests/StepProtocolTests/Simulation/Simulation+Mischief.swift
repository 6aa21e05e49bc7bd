import Cluster
import Determinism
import StepProtocol

/// What people do with copies: of directories, of the coordinator's database, and of a cluster's past.
extension Simulation {
    func mischief() {
        if isCalm { return }
        queue.insert(.mischief, at: now + 1 + Int64(otherRandom.below(1_500)))
        switch otherRandom.below(5) {
        case 0 where scenario.hasCopies:
            guard let shard = someShard(where: { !$0.host.isCopy && !$0.shell.owned.isEmpty }) else { return }
            copiedDisk = shard.shell.disk
            note("FAULT the directory of \(shard.name) is copied")
        case 1 where scenario.hasCopies: startCopy()
        case 2 where scenario.goesBack:
            guard let checkpoints = coordinator?.machine.checkpoints, !checkpoints.isEmpty else { return }
            let checkpoint = checkpoints[Int(otherRandom.below(UInt64(checkpoints.count)))]
            suffer("the operator goes back")
            orderToGoBack(to: checkpoint.directory, of: checkpoint.step)
            guard otherRandom.below(2) == 0 else { return }
            suffer("a checkpoint cannot be read for a while")
            world.unreadableFrom = Int(otherRandom.below(UInt64(Toy.sliceCount)))
            queue.insert(.readable, at: now + Int64(otherRandom.below(6_000)))
        case 3 where scenario.putsDatabaseBack && database.record?.owners.isEmpty == false:
            if copiedDatabase == nil || otherRandom.below(2) == 0 { copiedDatabase = database }
        case 4 where scenario.putsDatabaseBack && coordinator != nil:
            guard let copiedDatabase else { return }
            suffer("the coordinator's database is put back")
            stopCoordinator()
            database = copiedDatabase
            // What has been done since must be found at the shards, but for the last step: nobody but the old record could tell it from one
            // that was prepared and not committed.
            trained = max(-1, trained - 1)
            floor = max(-1, floor - 1)
            queue.insert(.startCoordinator, at: now + 1 + Int64(otherRandom.below(3_000)))
        default: break
        }
    }

    private func suffer(_ what: String) {
        faults[what, default: 0] += 1
        note("FAULT \(what)")
    }

    private func someShard(where fits: (ShardProcess) -> Bool) -> ShardProcess? {
        let found = shards.values.filter(fits).sorted { $0.node < $1.node }
        return found.isEmpty ? nil : found[Int(otherRandom.below(UInt64(found.count)))]
    }

    /// A second process comes with an earlier copy of the directory of a shard that lives.
    private func startCopy() {
        guard let disk = copiedDisk, !hosts.values.contains(where: \.isCopy),
            someShard(where: { $0.member?.number == disk.number && isMember($0) && stopped[$0.node] == nil }) != nil
        else { return }
        suffer("a copy of a directory is started")
        let host = ShardHost(index: nextHost, logs: true, syncsAlways: scenario.syncsAlways)
        host.isCopy = true
        host.disk = disk
        hosts[nextHost] = host
        nextHost += 1
        startShard(host)
        queue.insert(.endCopy(host: host.index), at: now + Int64(otherRandom.below(8_000)))
    }

    /// The copy goes, unless the shard that it is of was away for so long that it was taken for that. Then it is that.
    func endCopy(_ index: Int) {
        guard let host = hosts[index] else { return }
        let process = shards.values.first { $0.host === host }
        // Also while it is down: the coordinator names the directory, and whoever starts shards again uses that.
        let recorded = host.disk.number.flatMap { database.record?.members[MemberID(.shard, $0)] }
        if recorded?.place == host.endpoint {
            feats["copy taken", default: 0] += 1
            hasLostSteps = true
            host.isCopy = false
            for other in hosts.values where other !== host && other.disk.number == host.disk.number {
                if let old = shards.values.first(where: { $0.host === other }) { stopShard(old.node) }
                hosts[other.index] = nil
            }
            return
        }
        if let process { stopShard(process.node) }
        hosts[index] = nil
    }

    /// The run is over; then a host loses what it had not synced.
    func cutPowerAtTheEnd() {
        guard let shard = someShard(where: { !$0.shell.owned.isEmpty && isMember($0) && !$0.host.isCopy }) else {
            return
        }
        suffer("power is lost at the end")
        cutPower(shard.node)
    }
}
