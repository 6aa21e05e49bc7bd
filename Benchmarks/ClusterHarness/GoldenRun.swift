public import Foundation
internal import OperatorStatus
internal import Tensors
internal import Wire

/// The largest relative errors of a golden case computed by a cluster of processes.
public struct GoldenErrors: Sendable {
    public var loss: Double
    public var logNormalizer: Double
    public var targetLogit: Double
    /// ∂loss/∂features.
    public var featureGradient: Double
    /// ∂loss/∂centers of the sampled rows.
    public var centerGradient: Double
    public var updatedMomentum: Double
    public var updatedCenters: Double

    /// The largest of all.
    public var largest: Double {
        max(
            loss, logNormalizer, targetLogit, featureGradient, centerGradient, updatedMomentum, updatedCenters)
    }

    /// The larger of each.
    public func merged(with other: GoldenErrors) -> GoldenErrors {
        GoldenErrors(
            loss: max(loss, other.loss), logNormalizer: max(logNormalizer, other.logNormalizer),
            targetLogit: max(targetLogit, other.targetLogit),
            featureGradient: max(featureGradient, other.featureGradient),
            centerGradient: max(centerGradient, other.centerGradient),
            updatedMomentum: max(updatedMomentum, other.updatedMomentum),
            updatedCenters: max(updatedCenters, other.updatedCenters))
    }
}

extension GoldenCase {
    /// Computes the case with real processes and compares the answers.
    ///
    /// - Throws: `HarnessError` if the cluster does not finish the step.
    public func run(exchange: String, shards: Int, workers: Int, in directory: URL) throws -> GoldenErrors {
        let cluster = try LocalCluster(directory: directory)
        defer { cluster.stop() }
        try cluster.startCoordinator(
            configuration: configuration(
                microBatch: microBatch, exchange: exchange, shards: shards, workers: workers))
        for _ in 0..<shards { try cluster.addShard() }
        let record = directory.appending(path: "record").path
        for _ in 0..<workers { try cluster.addWorker(arguments: ["--record", record]) }
        try cluster.waitUntilFinished(seconds: 60)
        let status = try cluster.status()
        let (rows, momentum) = try cluster.readRows(values("sampled").map { Int64($0) })
        let recorded = try Self.recorded(in: record)
        let decay = number("weight_decay")
        let factor = number("momentum")
        let size = file.tensors["centers"]?.shape[1] ?? 0
        let (oldRows, oldMomentum) = (values("centers"), values("momentum"))
        var gradient = momentum
        for (index, id) in values("sampled").enumerated() {
            for column in 0..<size {
                let old = Int(id) * size + column
                gradient[index * size + column] -= factor * oldMomentum[old] + decay * oldRows[old]
            }
        }
        func error(_ a: [Double], _ name: String) -> Double { Self.relativeError(a, values(name)) }
        return GoldenErrors(
            loss: error([status.loss ?? .nan], "loss"),
            logNormalizer: error(recorded["log_normalizer"] ?? [], "log_normalizer"),
            targetLogit: error(recorded["target_logit"] ?? [], "target_logit"),
            featureGradient: error(recorded["grad_features"] ?? [], "grad_features"),
            centerGradient: error(gradient, "grad_centers"), updatedMomentum: error(momentum, "updated_momentum"),
            updatedCenters: error(rows, "updated_centers"))
    }

    /// A micro-batch size that cuts the batch into at least four where it can.
    private var microBatch: Int {
        (1...batchSize).last { batchSize % $0 == 0 && batchSize / $0 >= min(4, batchSize) } ?? 1
    }

    /// What the workers recorded, in the order of the case's samples.
    private static func recorded(in directory: String) throws -> [String: [Double]] {
        var bySample: [String: [Int: [Double]]] = [:]
        for name in try FileManager.default.contentsOfDirectory(atPath: directory) {
            let part = GoldenCase(name: name, path: name, file: try SafeTensors(contentsOf: directory + "/" + name))
            let samples = part.values("samples").map { Int($0) }
            for key in ["log_normalizer", "target_logit", "grad_features"] {
                let all = part.values(key)
                let width = all.count / max(samples.count, 1)
                for (row, sample) in samples.enumerated() {
                    bySample[key, default: [:]][sample] = Array(all[row * width..<(row + 1) * width])
                }
            }
        }
        return bySample.mapValues { $0.sorted { $0.key < $1.key }.flatMap(\.value) }
    }
}

extension LocalCluster {
    /// Rows and momentum of some classes, in the order of `ids`, read from the shards.
    ///
    /// - Throws: `HarnessError` if a shard does not answer.
    public func readRows(_ ids: [Int64]) throws -> (rows: [Double], momentum: [Double]) {
        var found: [Int64: (rows: [Double], momentum: [Double])] = [:]
        for shard in try status().shards {
            let owned = ids.filter { id in shard.classes.contains { $0[0] <= id && id < $0[1] } }
            if owned.isEmpty { continue }
            let client = try OperatorClient(connect: shard.endpoint)
            defer { client.close() }
            guard case .rows(let rows, let momentum, _) = try client.request(.readRows(ids: Tensor(owned))) else {
                throw HarnessError("\(shard.name) did not answer with rows")
            }
            let size = rows.shape[1]
            let (w, v) = (rows.array(Float.self), momentum.array(Float.self))
            for (index, id) in owned.enumerated() {
                let range = index * size..<(index + 1) * size
                found[id] = (w[range].map(Double.init), v[range].map(Double.init))
            }
        }
        guard ids.allSatisfy({ found[$0] != nil }) else { throw HarnessError("some rows are on no shard") }
        return (ids.flatMap { found[$0]?.rows ?? [] }, ids.flatMap { found[$0]?.momentum ?? [] })
    }
}

extension LocalCluster {
    /// Where shard `number` listens.
    ///
    /// - Throws: `HarnessError` if there is no such shard.
    public func shardEndpoint(_ number: Int) throws -> String {
        let shards = try status().shards
        guard number < shards.count else { throw HarnessError("there is no shard \(number)") }
        return shards[number].endpoint
    }
}
