import ArgumentParser
import ClusterHarness
import Foundation
import OperatorStatus
import ProcessSupport

/// `experiments hostile`.
struct Hostile: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Do everything to a training cluster that any peer can: does it go on, and give the memory back?",
        discussion: """
            Each deed is done to the coordinator and to a shard server, of which the table shows steps per second before, during and \
            after, and the most memory that either has taken. Exit code 1 if a server has ended, steps do not go on, or memory is \
            more than 20 % above the beginning a minute after the last deed.
            """)

    @Option(help: "Seconds of each deed at each server.")
    var seconds = 4.0

    @Option(help: "Classes.")
    var classes = 20_000

    @Option(help: "Descriptors that the servers have left when there are to be none.")
    var descriptors = 120

    func run() throws {
        let directory = Experiments.directory("hostile")
        let cluster = try LocalCluster(directory: directory)
        defer { cluster.stop() }
        let features = directory.appending(path: "features.safetensors")
        try SyntheticData.writeFeatures(to: features, samples: 2000, size: 64, classes: classes, seed: 1)
        try cluster.start(
            configuration: """
                data: {kind: features, path: "\(features.path)", classes: \(classes)}
                backbone: {name: none, embedding_size: 64}
                head: {scale: 32, m1: 1, m2: 0, m3: 0.4, sample_rate: 0.1, slices: 8}
                batch: {size: 32, micro_batch: 8}
                schedule: {steps: 100000000, learning_rate: 0.1}
                evaluation: {held_out_pairs: 0}
                cluster: {lease_seconds: 10}
                """, world: TrainingRun.World(shards: 2, workers: 1))
        try cluster.waitUntilCommitted(20, seconds: 120)
        let place = try cluster.shardEndpoint(0)
        let owned = try cluster.status().shards.first { $0.endpoint == place }
        let ids: [Int64] = (owned?.classes.first?.first).map { [Int64($0)] } ?? [0]
        Thread.sleep(forTimeInterval: 10)
        let servers = [cluster.coordinator].compactMap(\.self) + cluster.shards
        let attacked = try cluster.status().shards.first { $0.endpoint == place }?.processID ?? 0
        let shard = cluster.shards.first { Int($0.processIdentifier) == attacked } ?? cluster.shards[0]
        let before = servers.map(Self.resident)
        var table = TextTable(["deed", "to", "before", "during", "after", "most MiB", "ended"])
        var problems: [String] = []
        for deed in HostileDeed.allCases {
            for target in deed.targets {
                let endpoint = target == .coordinator ? cluster.endpoint : try cluster.shardEndpoint(0)
                let victim = target == .coordinator ? servers[0] : shard
                let calm = rate(cluster, seconds: 2)
                if deed == .descriptors { try victim.limitDescriptors(to: descriptors) }
                var most = 0
                let during = rate(cluster, seconds: seconds) { end in
                    let done = DispatchSemaphore(value: 0)
                    let seconds = end.timeIntervalSinceNow
                    Thread.detachNewThread {
                        deed.run(endpoint, target, classes: ids, seconds: seconds)
                        done.signal()
                    }
                    while done.wait(timeout: .now() + 0.02) == .timedOut { most = max(most, Self.resident(victim)) }
                }
                if deed == .descriptors { try victim.limitDescriptors(to: 4096) }
                let after = rate(cluster, seconds: 3)
                let ended = servers.filter { !$0.isRunning }.map(\.name)
                table.add([
                    deed.rawValue, target.rawValue, Units.fixed(calm, 1), Units.fixed(during, 1), Units.fixed(after, 1),
                    Units.fixed(Double(most) / 1_048_576, 0), ended.joined(separator: " "),
                ])
                let rates = [calm, during, after].map { Units.fixed($0, 1) }.joined(separator: " ")
                Experiments.note("\(deed.rawValue) (\(target.rawValue)): \(rates) steps/s, \(most >> 20) MiB")
                if !ended.isEmpty { problems.append("\(deed.rawValue): \(ended.joined(separator: " ")) ended") }
                if after == 0 { problems.append("\(deed.rawValue) (\(target.rawValue)): no step after it") }
                guard ended.isEmpty else { break }
            }
        }
        Experiments.say(table.render())
        let end = Date(timeIntervalSinceNow: 60)
        func isBack() -> Bool { zip(servers, before).allSatisfy { Double(Self.resident($0)) <= 1.2 * Double($1) } }
        while !isBack(), Date() < end { Thread.sleep(forTimeInterval: 1) }
        for (server, bytes) in zip(servers, before) {
            let now = Self.resident(server)
            Experiments.say("\(server.name): \(bytes >> 20) MiB at the beginning, \(now >> 20) MiB at the end")
            if Double(now) > 1.2 * Double(bytes) { problems.append("\(server.name) has not given its memory back") }
        }
        problems += try logProblems(cluster)
        for problem in problems { Experiments.say("PROBLEM: \(problem)") }
        if !problems.isEmpty { throw ExitCode(1) }
    }

    /// Nothing in a log is what a terminal obeys.
    private func logProblems(_ cluster: LocalCluster) throws -> [String] {
        try ["coordinator", "shard-0"].compactMap { name in
            let data = try Data(contentsOf: cluster.directory.appending(path: "\(name).log"))
            return data.contains { $0 < 0x20 && $0 != 0x0A } ? "the log of \(name) has control characters" : nil
        }
    }

    private static func resident(_ process: ClusterProcess) -> Int {
        ProcessMemory.residentBytes(of: process.processIdentifier)
    }

    /// Steps per second while something is done.
    private func rate(_ cluster: LocalCluster, seconds: Double, _ body: ((Date) -> Void)? = nil) -> Double {
        let (start, first) = (ContinuousClock.now, steps(cluster))
        let end = Date(timeIntervalSinceNow: seconds)
        body?(end)
        Thread.sleep(until: max(end, Date()))
        return Double(steps(cluster) - first) / ((ContinuousClock.now - start) / .seconds(1))
    }

    /// Lines of `metrics.jsonl`: the cluster need not answer.
    private func steps(_ cluster: LocalCluster) -> Int {
        let data = (try? Data(contentsOf: cluster.directory.appending(path: "metrics.jsonl"))) ?? Data()
        return data.reduce(0) { $0 + ($1 == 0x0A ? 1 : 0) }
    }
}
