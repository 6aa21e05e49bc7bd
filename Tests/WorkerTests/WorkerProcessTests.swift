import Cluster
import Configuration
import Foundation
import StepProtocol
import Tensors
import TestSupport
import Testing
import Wire

/// The worker's process against a coordinator and shards that the test plays.
@Suite(.tags(.cluster), .ownThread, .timeLimit(.minutes(20)), .serialized) struct WorkerProcessTests {
    private static let member = MemberID(.worker, 7)
    private let folder: TemporaryFolder
    private let configuration: String

    /// Eight samples of four classes, all in every batch; sample 5 is not finite.
    init() throws {
        folder = try TemporaryFolder()
        let path = folder.path + "/features.safetensors"
        var features = (0..<16).map { Float($0 + 1) }
        features[11] = .nan
        let file = SafeTensors(
            tensors: [
                "features": Tensor(features, shape: [8, 2]), "labels": Tensor((0..<8).map { Int64($0 % 4) }),
            ])
        try file.write(to: path)
        var configuration = RunConfiguration()
        configuration.data.kind = "features"
        configuration.data.path = path
        configuration.data.classes = 4
        configuration.data.samples = 8
        configuration.backbone.name = "none"
        configuration.backbone.embeddingSize = 2
        configuration.backbone.denseSlices = 2
        configuration.head.slices = 2
        configuration.head.exchange = "features"
        configuration.batch.size = 8
        configuration.batch.microBatch = 2
        configuration.schedule.steps = 100
        self.configuration = configuration.canonicalText
    }

    private func plan(
        revision: Int, id: StepID, shard: FakeServer, classVersion: Int = 0, activity: Plan.Activity = .train
    ) -> Plan {
        Plan(
            revision: revision, id: id, committed: id.step - 1, mapVersion: 1, classVersion: classVersion,
            exchange: .features, learningRate: 0.1, ranks: [.init(worker: Self.member, microBatches: 0..<4)],
            shards: [
                .init(
                    shard: MemberID(.shard, 0), endpoint: shard.server.endpoint, slices: SliceSet(0..<2),
                    denseSlices: SliceSet(0..<2))
            ], activity: activity)
    }

    /// Answers `parameters` of a backbone that has none; gives the labels that the worker begins with.
    private func begin(_ shard: FakeServer, _ id: StepID) throws -> [Int64] {
        while true {
            let request = try shard.request(.parameters)
            if request.0.id != id { continue }
            shard.answer(request, [Tensor([Float]())])
            break
        }
        let (request, _) = try shard.request(.begin)
        #expect(request.id == id)
        return request.payload[0].array(Int64.self)
    }

    @Test func resumingNeedsSomethingToResume() throws {
        let coordinator = try FakeServer()
        defer { coordinator.server.close() }
        let worker = try WorkerProcess(coordinator: coordinator.server.endpoint, arguments: ["--resume"])
        _ = try coordinator.welcome(as: Self.member) { $0.configuration = configuration }
        _ = try coordinator.next("leave") { if case .leave = $0 { true } else { nil } }
        #expect(worker.exitCode() == 78)

        for resumable in [{ $0.committed = 3 }, { $0.checkpoint = "/checkpoints/3" }] as [(inout Welcome) -> Void] {
            let worker = try WorkerProcess(coordinator: coordinator.server.endpoint, arguments: ["--resume"])
            _ = try coordinator.welcome(as: Self.member) {
                $0.configuration = configuration
                resumable(&$0)
            }
            _ = try coordinator.next("ready") { if case .ready = $0 { true } else { nil } }
            withExtendedLifetime(worker) {}
        }
    }

    @Test func aWorkerOutlivesItsCoordinatorAndKeepsItsNumber() throws {
        let shard = try FakeServer()
        defer { shard.server.close() }
        var coordinator = try FakeServer()
        let endpoint = coordinator.server.endpoint
        let worker = try WorkerProcess(coordinator: endpoint)
        let (hello, peer) = try coordinator.welcome(as: Self.member) { $0.configuration = configuration }
        #expect(hello.previousNumber == -1 && hello.state == nil)
        let first = StepID(term: 1, step: 0, attempt: 0)
        coordinator.server.send(.plan(plan(revision: 1, id: first, shard: shard)), to: peer)
        let (greeting, _) = try shard.welcome(as: Self.member)
        #expect(greeting.previousNumber == 7 && greeting.clusterID == "test" && greeting.classCount == 4)
        _ = try shard.request(.parameters)

        coordinator.server.close()
        coordinator = try FakeServer(bind: endpoint)
        defer { coordinator.server.close() }
        let (again, same) = try coordinator.welcome(as: Self.member) { $0.configuration = configuration }
        #expect(again.previousNumber == 7 && again.incarnation == hello.incarnation && again.clusterID == "test")
        // A plan of the old term is not followed, whatever its revision is.
        let second = StepID(term: 2, step: 0, attempt: 0)
        coordinator.server.send(.plan(plan(revision: 1, id: second, shard: shard)), to: same)
        coordinator.server.send(
            .plan(plan(revision: 9, id: StepID(term: 1, step: 0, attempt: 5), shard: shard)), to: same)
        _ = try begin(shard, second)
        withExtendedLifetime(worker) {}
    }

    @Test func aShardIsFoundAgainWhereThePlanSaysItIs() throws {
        let coordinator = try FakeServer()
        let (before, after) = (try FakeServer(), try FakeServer())
        defer { for server in [coordinator, before, after] { server.server.close() } }
        let worker = try WorkerProcess(coordinator: coordinator.server.endpoint)
        let (_, peer) = try coordinator.welcome(as: Self.member) { $0.configuration = configuration }
        let first = StepID(term: 1, step: 0, attempt: 0)
        coordinator.server.send(.plan(plan(revision: 1, id: first, shard: before)), to: peer)
        _ = try before.welcome(as: Self.member)
        _ = try before.request(.parameters)
        let task = BoundaryTask(number: 1, step: -1, kind: .restore(checkpoint: nil))
        coordinator.server.send(
            .plan(plan(revision: 2, id: first, shard: before, activity: .task(task))), to: peer)
        let second = StepID(term: 1, step: 0, attempt: 1)
        coordinator.server.send(.plan(plan(revision: 3, id: second, shard: after)), to: peer)
        _ = try after.welcome(as: Self.member)
        #expect(try begin(after, second).count == 8)
        withExtendedLifetime(worker) {}
    }

    @Test func aStepIsComputedWithTheClassesOfItsPlan() throws {
        let (coordinator, shard) = (try FakeServer(), try FakeServer())
        defer { for server in [coordinator, shard] { server.server.close() } }
        let worker = try WorkerProcess(coordinator: coordinator.server.endpoint)
        let (_, peer) = try coordinator.welcome(as: Self.member) { $0.configuration = configuration }
        // Two operations were applied by the time the worker asks; the plan is of the first.
        func answer() throws {
            let (_, received) = try coordinator.next("read_classes") { if case .readClasses = $0 { true } else { nil } }
            let operations = #"[{"retire":{"_0":[0,1]}}, {"merge":{"from":3,"into":2}}]"#
            coordinator.server.send(
                .classes(ClassList(version: 2, operations: operations)), to: received.peer, request: received.request)
        }
        let first = StepID(term: 1, step: 1, attempt: 0)
        coordinator.server.send(.plan(plan(revision: 1, id: first, shard: shard, classVersion: 1)), to: peer)
        try answer()
        _ = try shard.welcome(as: Self.member)
        #expect(try begin(shard, first).allSatisfy { [2, 3].contains($0) })

        let second = StepID(term: 1, step: 2, attempt: 0)
        coordinator.server.send(.plan(plan(revision: 2, id: second, shard: shard, classVersion: 2)), to: peer)
        try answer()
        #expect(try begin(shard, second) == [Int64](repeating: 2, count: 8))

        // In another term the same version may stand for other operations.
        let third = StepID(term: 2, step: 2, attempt: 0)
        coordinator.server.send(.plan(plan(revision: 1, id: third, shard: shard, classVersion: 1)), to: peer)
        try answer()
        #expect(try begin(shard, third).allSatisfy { [2, 3].contains($0) })
        withExtendedLifetime(worker) {}
    }

    @Test func whatIsNotFiniteIsReportedByTheRankThatHasIt() throws {
        let (coordinator, shard) = (try FakeServer(), try FakeServer())
        defer { for server in [coordinator, shard] { server.server.close() } }
        let worker = try WorkerProcess(coordinator: coordinator.server.endpoint)
        let (_, peer) = try coordinator.welcome(as: Self.member) { $0.configuration = configuration }
        let id = StepID(term: 1, step: 0, attempt: 0)
        coordinator.server.send(.plan(plan(revision: 1, id: id, shard: shard)), to: peer)
        _ = try shard.welcome(as: Self.member)
        _ = try begin(shard, id)
        let (failed, _) = try coordinator.next("step_failed") {
            if case .stepFailed(let failed) = $0 { failed } else { nil }
        }
        #expect(failed.id == id && failed.code == .notFinite && failed.member == Self.member)
        #expect(failed.message.contains("the embedding of sample") && failed.message.contains("(5 of the data)"))
        withExtendedLifetime(worker) {}
    }
}
