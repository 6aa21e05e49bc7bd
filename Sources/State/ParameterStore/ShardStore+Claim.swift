/// One directory for many shard servers, for those that are started as equal copies of each other and cannot be told apart.
extension ShardStore {
    /// A directory of a pool that could not be used, and why.
    public struct PassedOver: Sendable, Hashable, CustomStringConvertible {
        public var directory: String
        public var problem: String

        public var description: String {
            "\(directory) is passed over: \(problem). Repair it and start another shard server, or remove it once its slices are restored"
        }
    }

    /// Opens the directory of a shard in `pool`, `shard-0`, `shard-1` and so on, that no other process uses: one that holds slices if
    /// there is one, so that a process that died is followed up; else one that was left empty; else a new one.
    ///
    /// - Returns: the store, and the directories that are free but damaged or cannot be read: one of them must not keep every
    ///   shard server from starting.
    /// - Throws: `CenterStoreError` if `pool` cannot be used.
    public static func claim(
        in pool: String, sync: SyncMode
    ) throws(CenterStoreError) -> (store: ShardStore, passedOver: [PassedOver]) {
        try FileIO.makeDirectory(pool)
        let known = try FileIO.names(in: pool).compactMap(shardNumber).sorted()
        var spare: ShardStore?
        var passedOver: [PassedOver] = []
        for number in known {
            let directory = directory(number, pool)
            do throws(CenterStoreError) {
                guard let store = try unlessLocked(directory, sync) else { continue }
                if let problem = store.unusable {
                    passedOver.append(PassedOver(directory: directory, problem: problem))
                    continue
                }
                if store.holdsSlices { return (store, passedOver) }
                if spare == nil { spare = store }
            } catch { passedOver.append(PassedOver(directory: directory, problem: error.message)) }
        }
        if let spare { return (spare, passedOver) }
        // Others that start now take numbers too.
        var number = (known.last ?? -1) + 1
        while true {
            do throws(CenterStoreError) {
                if let store = try unlessLocked(directory(number, pool), sync) { return (store, passedOver) }
            } catch {
                guard let first = passedOver.first else { throw error }
                throw CenterStoreError(error.code, "\(error.message). \(first)")
            }
            number += 1
        }
    }

    /// Whether a shard owns slices here, or has complete copies of some.
    public var holdsSlices: Bool { !owned.isEmpty || !received.isEmpty }

    private static func directory(_ number: Int, _ pool: String) -> String { "\(pool)/shard-\(number)" }

    private static func shardNumber(_ name: String) -> Int? {
        guard name.hasPrefix("shard-"), let number = FileIO.number(name.dropFirst(6)), name == "shard-\(number)"
        else { return nil }
        return number
    }

    private static func unlessLocked(
        _ directory: String, _ sync: SyncMode
    ) throws(CenterStoreError) -> ShardStore? {
        do throws(CenterStoreError) { return try ShardStore(directory: directory, sync: sync) } catch {
            if error.code == .locked { return nil }
            throw error
        }
    }
}

/// That what is in a directory cannot be loaded, which opening it alone does not show.
extension ShardStore {
    private var unusablePath: String { directory + "/unusable" }

    /// Why a process found that what is here cannot be used, nil if none did.
    public var unusable: String? {
        guard let bytes = try? FileIO.contents(of: unusablePath) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
            + " (after a repair, remove \(unusablePath))"
    }

    /// Notes that what is here cannot be used, so that the next process takes another directory of the pool. From any thread.
    ///
    /// - Throws: `CenterStoreError` if the note cannot be written.
    public func setUnusable(_ problem: String) throws(CenterStoreError) {
        try FileIO.replace(unusablePath, with: Array(problem.utf8))
    }
}

/// What is left of a shard that has handed everything over.
extension ShardStore {
    /// Forgets everything: slices, copies, the log. The directory is as good as a new one, but for whose it was.
    ///
    /// - Throws: `CenterStoreError`; nothing has changed then.
    public func giveEverythingUp() throws(CenterStoreError) {
        guard identity != nil else { return }
        try replaceAll(with: [:], step: -1, mapVersion: 0, extra: "")
    }
}

/// That the process was told to end and hands its slices over: kept, so that the next process with this directory knows that
/// this was the other's wish and not the operator's.
extension ShardStore {
    private var goingPath: String { directory + "/going" }

    /// Whether the last process with this directory was on its way out when it ended.
    public var isGoing: Bool { FileIO.exists(goingPath) }

    /// Notes whether this process is on its way out. From any thread.
    ///
    /// - Throws: `CenterStoreError` if the note cannot be written or removed.
    public func setGoing(_ isGoing: Bool) throws(CenterStoreError) {
        if isGoing { try FileIO.replace(goingPath, with: []) } else { try FileIO.remove(goingPath) }
    }
}
