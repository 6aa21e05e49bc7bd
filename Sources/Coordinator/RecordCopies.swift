import Cluster
import CoordinatorStore
import Foundation
import ParameterStore
import StepProtocol
import Wire

/// The copy of the coordinator's record that shards keep.
struct RecordCopies {
    /// Whether something was decided since the copy was made that it must have.
    var isOutdated = true
    private var copy: RecordCopy?
    /// Numbers the copies of this process, and so of its term.
    private var count = 0

    /// Something was decided. What shards know themselves, step by step, is no reason for another copy.
    mutating func note(_ decisions: [CoordinatorRecord.Decision]) {
        isOutdated =
            isOutdated
            || decisions.contains {
                switch $0 {
                case .committed, .attempts, .safe, .paces: false
                default: true
                }
            }
    }

    /// The copy to keep now; nil if the record is longer than a hello can be.
    mutating func current(_ cluster: CoordinatorDatabase.Cluster, _ record: CoordinatorRecord) -> RecordCopy? {
        guard isOutdated else { return copy }
        isOutdated = false
        count += 1
        copy = StoredCopy(cluster, record, number: count).text.map {
            RecordCopy(id: .random(in: 1 ... .max), classVersion: record.classVersion, text: $0)
        }
        return copy
    }
}

/// The text of a copy: what the database of the coordinator has, but for events and evaluations.
struct StoredCopy: Codable {
    /// The slices that a shard owns, or keeps second copies of.
    private struct Owner: Codable {
        var shard: Int
        var slices: SliceSet
        var denseSlices: SliceSet
    }

    private var format = 1
    private(set) var id: String
    private(set) var number: Int
    private var configuration: String
    private var origin: CoordinatorRecord.CheckpointRecord?
    private var instructionSet: String?
    private var leastHeadKernels: String?
    private var owners: [Owner]
    private var keepers: [Owner]
    private var bareRecord: CoordinatorRecord

    /// What a hello leaves for it, with what shards add and JSON escapes.
    static let byteLimit = RecordCopy.byteLimit / 4 * 3

    init(_ cluster: CoordinatorDatabase.Cluster, _ record: CoordinatorRecord, number: Int) {
        (id, configuration, origin) = (cluster.id, cluster.configuration, cluster.origin)
        (instructionSet, leastHeadKernels) = (cluster.instructionSet, cluster.leastHeadKernels)
        self.number = number
        (owners, keepers) = (Self.byShard(record.owners), Self.byShard(record.keepers))
        bareRecord = record
        (bareRecord.owners, bareRecord.keepers, bareRecord.paces) = ([:], [:], [:])
    }

    private static func byShard(_ shards: [SliceName: Int]) -> [Owner] {
        Dictionary(grouping: shards.keys) { shards[$0] ?? -1 }.sorted { $0.key < $1.key }.map { shard, slices in
            Owner(shard: shard, slices: slices.centers, denseSlices: slices.dense)
        }
    }

    private static func bySlice(_ owners: [Owner]) -> [SliceName: Int] {
        var shards: [SliceName: Int] = [:]
        for owner in owners {
            for slice in Set(centers: owner.slices, dense: owner.denseSlices) { shards[slice] = owner.shard }
        }
        return shards
    }

    /// - Throws: `DecodingError` if the text is no copy.
    init(text: String) throws { self = try JSONDecoder().decode(Self.self, from: Data(text.utf8)) }

    /// Nil if it is too long.
    var text: String? {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let text = try? encoder.encode(self), text.count <= Self.byteLimit else { return nil }
        return String(decoding: text, as: UTF8.self)
    }

    var cluster: CoordinatorDatabase.Cluster {
        var cluster = CoordinatorDatabase.Cluster(id: id, configuration: configuration, origin: origin)
        (cluster.instructionSet, cluster.leastHeadKernels) = (instructionSet, leastHeadKernels)
        return cluster
    }

    /// Why this cannot be what a coordinator has decided; nil if it can. To be asked of copies from elsewhere before anything else.
    ///
    /// - Parameters:
    ///   - sliceCount: of the class centers, at most.
    ///   - denseSliceCount: of the backbone, at most.
    func problem(
        sliceCount: Int = SliceLayout.sliceLimit, denseSliceCount: Int = SliceLayout.sliceLimit
    ) -> String? {
        for owner in owners + keepers {
            for (set, limit) in [(owner.slices, sliceCount), (owner.denseSlices, denseSliceCount)]
            where set.bounds.lowerBound < 0 || set.bounds.upperBound > limit {
                return "it has slices \(set) of \(limit)"
            }
        }
        return record.problem(sliceCount: sliceCount, denseSliceCount: denseSliceCount)
    }

    var record: CoordinatorRecord {
        var record = bareRecord
        (record.owners, record.keepers) = (Self.bySlice(owners), Self.bySlice(keepers))
        return record
    }
}

extension CoordinatorService {
    /// The copy for a shard that keeps another one, or none.
    func newRecord(for beat: Heartbeat) -> RecordCopy? {
        guard beat.member.role == .shard else { return nil }
        let wasOutdated = copies.isOutdated
        guard let copy = copies.current(cluster, machine.record) else {
            if wasOutdated {
                note(
                    .warning,
                    "what this coordinator has decided is too long for shards to keep a copy: `serve --adopt` could not make the state "
                        + "directory again; back it up")
            }
            return nil
        }
        return copy.id == beat.record ? nil : copy
    }
}
