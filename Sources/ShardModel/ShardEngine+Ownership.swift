internal import Cluster
internal import Model
internal import ParameterStore
internal import PartialFC
package import StepProtocol
internal import Tensors

/// Slices that become this shard's, and those that it gives up.
extension ShardEngine {
    /// What the shard says of its state when it joins.
    package var state: ShardState {
        guard let store else {
            let newest = ownsSlices ? prepared?.step ?? committed : -1
            return ShardState(
                newest: newest, oldest: ownsSlices ? committed : 0, logsSteps: false, hasSlices: ownsSlices,
                holdings: holdings)
        }
        return store.state(holdings)
    }

    /// The last step that a power cut cannot take.
    package var durable: Int { store?.durableStep ?? committed }

    /// Owns exactly these slices from now on.
    func own(_ slices: SliceSet, _ denseSlices: SliceSet, mapVersion: Int, plan: Plan?) throws {
        guard prepared == nil else { throw HeadError(.phase, "slices change hands while an update is not committed") }
        let wanted = Set(centers: slices, dense: denseSlices)
        let present = Set(ownedSlices)
        let (new, gone) = (wanted.subtracting(present).sorted(), present.subtracting(wanted).sorted())
        if present.isEmpty { committed = plan?.committed ?? committed }
        let adopted = new.filter { copies[$0]?.isHandedOver == true && copies[$0]?.completeStep == committed }
        let kept = Set(store?.kept.map(\.slice) ?? []).subtracting(adopted)
        let copied = new.filter(kept.contains)
        let started = new.filter { !adopted.contains($0) && !kept.contains($0) }
        // Only before the first step are the initial values what a slice is.
        if !started.isEmpty, committed >= 0 {
            throw CenterStoreError(
                .notHeld, "\(started) are to be owned after step \(committed), of which there is no copy here")
        }
        try makeCurrent(copied)
        snapshots = nil
        let past = wanted.isEmpty ? 0 : present.isEmpty || self.past == 0 ? plan?.past ?? 0 : self.past
        try keepOwnership(adopted, started, copied, gone, isFirst: present.isEmpty, mapVersion: mapVersion, past: past)
        (self.past, self.mapVersion) = (past, mapVersion)
        for slice in gone { try holder(of: slice).remove([slice.number]) }
        for slice in started {
            if copies[slice] != nil { try drop(slice) }
            try holder(of: slice).holdInitial(slice.number, setup)
        }
        for slice in adopted { copies[slice] = nil }
        for slice in copied { promoted[slice] = nil }
        try dropPromoted(promoted.keys.sorted())
        try activate(new)
    }

    /// Notes the new ownership in the directory: at once, and before anything of it is used.
    private func keepOwnership(
        _ adopted: [SliceName], _ started: [SliceName], _ copied: [SliceName], _ gone: [SliceName], isFirst: Bool,
        mapVersion: Int, past: UInt64
    ) throws {
        guard let store else { return }
        var notes = try StoreNotes(store.extra)
        notes.lastTask = lastTask
        notes.past = past
        if isFirst { notes.operations = head.registry.operations }
        let (text, step) = (notes.text, committed)
        let isLast =
            !isFirst && adopted.isEmpty && started.isEmpty && copied.isEmpty
            && gone.count == slices.count + denseSlices.count
        let kept = adopted.filter { slice in store.received.contains { $0.slice == slice } }
        guard kept.count == adopted.count else {
            throw CenterStoreError(.notHeld, "\(adopted) are to be owned, of which only \(kept) are on the disk")
        }
        try gate.retry(nil) { () throws(CenterStoreError) in
            if isLast, store.received.isEmpty {
                // Nothing of the log is about anything that is held.
                try store.replaceAll(with: [:], step: step, mapVersion: mapVersion, extra: text)
            } else {
                try store.own(
                    adopting: adopted, starting: started, promoting: copied, dropping: gone, mapVersion: mapVersion,
                    step: step,
                    extra: text)
            }
        }
    }

    /// Takes over the classes that there are: for a shard that owns nothing and has not seen what changed them.
    ///
    /// - Throws: `CenterStoreError` or `HeadError` if the operations do not fit the run.
    package func setClasses(operationsJSON: String) throws {
        guard !ownsSlices else { return }
        let registry = try ClassRegistry(
            classCount: setup.head.classCount, sliceCount: setup.head.sliceCount, operationsJSON: operationsJSON)
        for slice in copies.keys.sorted() { try drop(slice) }
        head = try ShardHead(
            configuration: setup.head, registry: registry, slices: [], threads: threads, memory: memory)
    }
}
