import Cluster
import StepProtocol
import Succession
import Tensors
import Wire

/// Messages of every kind, with every field set to something that is not its default.
enum Samples {
    static let worker = MemberID(.worker, 3)
    static let id = StepID(term: 3, step: 70_000, attempt: 2)

    static func all() -> [WireMessage] {
        [.hello(hello), .welcome(welcome), .refused(Refusal(.classCount, "5530 classes, not 3000: ü")), .acknowledged]
            + members + plans + steps + tasksDone + transfers + inspection
    }

    static var hello: Hello {
        var hello = Hello(role: .shard, incarnation: .max)
        hello.zone = "rack ü"
        hello.clusterID = "glyphs"
        hello.writesResults = true
        hello.name = "shard on the left"
        hello.endpoint = "tcp://127.0.0.1:7000"
        hello.embeddingSize = 512
        hello.classCount = 10_000_000
        hello.configurationHash = "abc"
        hello.instructionSet = "avx512"
        hello.threads = 16
        hello.processID = 4_194_304
        hello.host = "höst"
        hello.previousNumber = 1
        hello.state = ShardState(
            newest: 69_999, oldest: 60_000, logsSteps: true, hasSlices: true,
            holdings: ShardHoldings(
                place: "host:/data/shard-1", identity: 1 << 63, slices: [0, 1, 5], denseSlices: [2], received: [7],
                receivedDense: [], kept: [2, 3], keptDense: [0], mapVersion: 4, classVersion: 1,
                receivedClassVersion: 0, past: 0xF00_0000_0001,
                lastTask: 12, isSynced: true,
                recent: [.skipped(69_998), StepID(term: 9, step: 69_999, attempt: 1)]))
        (hello.term, hello.coordinator) = (9, .max)
        hello.replaces = .max - 1
        hello.job = JobRank(id: .max - 2, rank: 3, worldSize: 4, step: 69_999, past: 0xF00_0000_0001)
        hello.record = #"{"copy":{"id":7,"text":"ä"}}"#
        return hello
    }

    static var welcome: Welcome {
        var welcome = Welcome(clusterID: "glyphs", member: worker)
        welcome.configuration = "classes: 5530\n"
        welcome.configurationHash = "abc"
        welcome.heartbeatMilliseconds = 500
        welcome.leaseMilliseconds = 3000
        welcome.committed = 69_999
        welcome.checkpoint = "/state/checkpoints/step-60000"
        welcome.answersQueries = true
        return welcome
    }

    static let members: [WireMessage] = [
        .heartbeat(
            Heartbeat(member: worker, incarnation: 7, statistics: ["a": 1.5, "b": -2], notes: ["phase": "begin"])),
        .heartbeat(
            Heartbeat(
                member: MemberID(.shard, 2), incarnation: 7,
                report: ShardReport(
                    committed: 9, durable: 8, received: [.centers(4): 7, .dense(4): -1, .dense(1): 9],
                    obstacle: "the disk is full: /state", prepared: id,
                    waiting: ShardWaiting(
                        id: id, isBusy: true,
                        ranks: [
                            .init(rank: 5, phase: .begin, seconds: 31.5), .init(rank: 0, phase: .update, seconds: 0),
                        ])))),
        .heartbeat(
            Heartbeat(
                member: MemberID(.shard, 2), incarnation: 7,
                report: ShardReport(
                    committed: 9, durable: 8, prepared: .nothing, kept: [.centers(0): -1, .dense(7): 6]))),
        .heartbeat(
            Heartbeat(
                member: worker, incarnation: 7,
                activity: WorkerActivity(id: id, computes: true, progress: 12, waitsFor: [0, 4]))),
        .heartbeat(Heartbeat(member: worker, incarnation: 7, activity: WorkerActivity(), record: 0xF00D)),
        .stepPrepared(StepPrepared(member: MemberID(.shard, 2), incarnation: 7, id: id)),
        .heartbeatReply(HeartbeatReply(committed: -1, mapVersion: 4, state: "training")),
        .heartbeatReply(
            HeartbeatReply(
                committed: 9, mapVersion: 4, state: "training",
                record: RecordCopy(id: .max, classVersion: 3, text: "{\"term\": 2}"))),
        .heartbeat(
            Heartbeat(
                member: MemberID(.shard, 2), incarnation: 7,
                vote: BallotVote(
                    view: 5, promised: Ballot(round: 3, candidate: .max),
                    accepted: .init(ballot: Ballot(round: 2, candidate: 9), holder: 7)))),
        .heartbeatReply(
            HeartbeatReply(
                committed: 9, mapVersion: 4, state: "training",
                question: BallotQuestion(view: 5, ballot: Ballot(round: 3, candidate: .max), holder: 9))),
        .standingBy(StandingBy(message: "it stands by for tcp://a:7400")),
        .standingBy(
            StandingBy(
                message: "it takes over", question: BallotQuestion(view: 1, ballot: Ballot(round: 1, candidate: 1)))),
        .ready(Ready(member: worker, incarnation: 7, held: id)),
        .ready(Ready(member: worker, incarnation: 7)),
        .stepDone(
            StepDone(
                member: worker, incarnation: 7,
                result: StepResult(
                    id: id, microBatches: 2..<4, lossSums: [1.25, .infinity], gradientNorm: 5, backboneSeconds: 0.5,
                    exchangeSeconds: 0.25, totalSeconds: 1, updateSeconds: 0.125, shardSeconds: [0.5, 0.75],
                    learningRate: 0.25))),
        .stepFailed(
            StepFailed(member: worker, incarnation: 7, id: id, code: .labelOutOfRange, message: "label 6000 of 5530")),
        .stepFailed(
            StepFailed(
                member: worker, incarnation: 7, id: id, code: .notFinite, message: "shard-0: a feature",
                refusedBy: MemberID(.shard, 0))),
        .heartbeat(
            Heartbeat(
                member: MemberID(.shard, 2), incarnation: 7,
                report: ShardReport(
                    committed: 9, durable: 8, prepared: .nothing,
                    waiting: ShardWaiting(
                        id: id, isBusy: false, ranks: [],
                        failure: .init(code: .notFinite, message: "a feature of rank 3", ranks: [3, 0]))))),
        .evaluation(Evaluation(member: worker, incarnation: 7, step: 9, name: "lfw", values: ["accuracy": 0.99])),
        .evaluation(
            Evaluation(member: worker, incarnation: 7, step: 9, name: "", values: [:], problem: "still under way")),
        .resultsDone(ResultsDone(member: worker, incarnation: 7, id: id, problem: "no space")),
        .resultsDone(
            ResultsDone(
                member: worker, incarnation: 7, id: id,
                evaluations: ["lfw": ["accuracy": 0.99, "auc": 1], "held-out": [:]])),
        .leave(Leave(member: worker, incarnation: 7, reason: "asked to")),
        .leave(Leave(member: worker, incarnation: 7, reason: "cannot read /x", exitCode: 70)),
    ]

    static let plans: [WireMessage] =
        [
            .plan(plan(.train)), .plan(plan(.wait(reason: "1 of 2 shards"))), .plan(plan(.finished)),
            .plan(plan(.finishing(writer: worker))), .plan(plan(.finishing(writer: nil))),
            .plan(plan(.failed(reason: "state lost"))),
        ]
        + [
            .skip, .checkpoint(directory: "/state/checkpoints/step-69999"), .restore(checkpoint: nil),
            .restore(checkpoint: ""), .restore(checkpoint: "/state/checkpoints/step-60000"),
            .classes(.add(count: 5, path: "/data/new.safetensors")), .classes(.add(count: 5, path: "")),
            .classes(.retire([3, 1, 5529])), .classes(.retire([])), .classes(.merge(from: 8, into: 7)),
            .classes(.retire(SliceSet([3..<900, 1000..<1 << 40]))), .check(.add(count: 2, path: "/x", hash: "0f")),
            .handOver(moves), .handOver([]), .promote(moves),
        ].map { .plan(plan(.task(BoundaryTask(number: 12, step: 69_999, kind: $0)))) }

    static let moves = [
        SliceMove(slice: .centers(65), from: MemberID(.shard, 1), to: MemberID(.shard, 4)),
        SliceMove(slice: .dense(7), from: MemberID(.shard, 1), to: MemberID(.shard, 0)),
    ]

    static func plan(_ activity: Plan.Activity) -> Plan {
        Plan(
            revision: 11, id: id, committed: 69_999, mapVersion: 5, classVersion: 2, safe: 69_000, exchange: .features,
            learningRate: 0.1,
            ranks: [
                .init(worker: worker, microBatches: 0..<3, incarnation: 7),
                .init(worker: MemberID(.worker, 9), microBatches: 3..<3),
            ],
            shards: [
                .init(
                    shard: MemberID(.shard, 1), endpoint: "tcp://h:1", slices: SliceSet([0..<64, 66..<67]),
                    denseSlices: SliceSet(1..<8)),
                .init(
                    shard: MemberID(.shard, 4), endpoint: "tcp://h:2", slices: [], denseSlices: [],
                    kept: SliceSet([0..<64, 66..<67]), keptDense: SliceSet(1..<8)),
            ],
            moves: moves, activity: activity, committedID: StepID(term: 3, step: 69_999, attempt: 2),
            job: PlanJob(id: .max - 2, worldSize: 4, setsRate: true),
            head: HeadValues(sampleRate: 0.1, m1: 0.9, m2: 0.4, m3: 0.15, scale: 64, interclassFilter: 0.5))
    }

    static func request(_ payload: [Tensor]) -> WireMessage {
        .stepRequest(
            StepRequest(
                id: id, rank: 1, worldSize: 2, mapVersion: 5, phase: .dense, committed: 69_999, exchange: .features,
                learningRate: 0.05, microBatches: 2..<4, payload: payload, committedID: .skipped(69_999)),
            incarnation: 77)
    }

    /// Nothing of the payload travels with a question about it.
    static func query(_ query: StepQuery) -> WireMessage {
        guard case .stepRequest(var asked, let incarnation) = request([]) else { return .acknowledged }
        asked.query = query
        asked.part = 2..<3
        return .stepRequest(asked, incarnation: incarnation)
    }

    static func reply(_ outcome: StepReply<[Tensor]>.Outcome) -> WireMessage {
        .stepReply(StepReply(id: id, rank: 1, phase: .forward, part: 2..<3, outcome: outcome))
    }

    static let steps: [WireMessage] = [
        request([Tensor([Int32](0..<6), shape: [3, 2]), Tensor([Float](repeating: 0.5, count: 24), shape: [3, 2, 4])]),
        request([]), query(.isThere), query(.answer), reply(.received), reply(.missing), reply(.answered),
        reply(.done([Tensor([1.5, 2.5])])), reply(.done([Tensor([UInt8](), shape: [0, 4])])),
        reply(.stale(current: StepID(step: 70_001, attempt: 0), committed: 70_000)),
        reply(.notReady(current: id, committed: -1)), reply(.refused(code: .notFinite, message: "a NaN at 7")),
    ]

    static let tasksDone: [WireMessage] = [.done(detail: "[\"ü\"]"), .done(detail: ""), .failed(message: "no room")].map
    {
        .taskDone(TaskDone(member: MemberID(.shard, 1), incarnation: 7, number: 12, outcome: $0))
    }

    static func transfer(
        _ part: TransferRequest.Part, _ content: TransferReply<[Tensor]>.Content
    ) -> WireMessage {
        .transferReply(TransferReply(slice: .dense(9), part: part, content: content))
    }

    static let transfers: [WireMessage] = [
        .transferRequest(TransferRequest(slice: .centers(9), term: 3, mapVersion: 5, part: .chunk(0))),
        .transferRequest(TransferRequest(slice: .dense(9), term: 3, mapVersion: 5, part: .record(after: -1))),
        transfer(.chunk(2), .chunk(count: 3, step: 69_999, [Tensor([1.5, 2.5]), Tensor([0.5, 0.25])])),
        transfer(.chunk(0), .chunk(count: 1, step: -1, [])), transfer(.chunk(2), .gone),
        transfer(
            .chunk(0),
            .chunk(
                count: 1, step: 4,
                [
                    Tensor([0x3f80, 0x4000] as [UInt16], shape: [1, 2]),
                    Tensor([1, 2, 0, 0] as [UInt8], shape: [1, 4]),
                ])),
        transfer(
            .chunk(0),
            .chunk(
                count: 1, step: 4,
                [Tensor([0x3f80] as [UInt16], shape: [1, 1]), Tensor(zeros: UInt8.self, shape: [1, 0])])),
        transfer(.record(after: 69_998), .record(step: 69_999, header: "{\"step\": 1}", [Tensor([1, 2] as [Int64])])),
        transfer(.record(after: 69_999), .upToDate(step: 69_999)), transfer(.record(after: -1), .gone),
    ]

    static let inspection: [WireMessage] = [
        .operatorRequest(OperatorRequest(command: "status", arguments: ["json": "true"])),
        .operatorReply(OperatorReply(exitCode: 2, json: "{\"step\": 1}")),
        .readRows(ids: Tensor([Int64](0..<5))),
        .rows(
            rows: Tensor([Float](repeating: 1, count: 10), shape: [5, 2]),
            kept: Tensor([Float](repeating: 2, count: 10), shape: [5, 2]),
            steps: Tensor([Int64](repeating: 3, count: 10), shape: [5, 2])),
        .readSliceHashes,
        .sliceHashes(SliceHashes(step: 12, slices: [0: "aa", 7: "bb"], denseSlices: [1: "cc", 2: "dd"])),
        .readClasses, .classes(ClassList(version: 1, operations: "[{\"retire\": {\"_0\": [3]}}]")),
    ]
}
