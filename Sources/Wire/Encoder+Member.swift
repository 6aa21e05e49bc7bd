internal import CWire
internal import Cluster
import StepProtocol

extension Encoder {
    func hello(_ hello: Hello) throws -> UnsafeMutablePointer<Partialfc__Hello> {
        try arena.make(partialfc__hello__init) {
            $0.role = UInt32(hello.role.rawValue)
            $0.protocol_version = try Field.small(hello.protocolVersion, "protocol_version")
            $0.cluster_id = try arena.text(hello.clusterID, "cluster_id")
            $0.name = try arena.text(hello.name, "name")
            $0.incarnation = hello.incarnation
            $0.endpoint = try arena.text(hello.endpoint, "endpoint")
            $0.embedding_size = try Field.number(hello.embeddingSize, "embedding_size")
            $0.class_count = try Field.number(hello.classCount, "class_count")
            $0.configuration_hash = try arena.text(hello.configurationHash, "configuration_hash")
            $0.instruction_set = try arena.text(hello.instructionSet, "instruction_set")
            $0.threads = try Field.small(hello.threads, "threads")
            $0.process_id = try Field.small(hello.processID, "process_id", limit: Bound.processID)
            $0.host = try arena.text(hello.host, "host")
            $0.previous_number = try Field.orNone(hello.previousNumber, "previous_number")
            if let state = hello.state { $0.state = try shardState(state) }
            $0.writes_results = hello.writesResults ? 1 : 0
            $0.term = try Field.number(hello.term, "term")
            $0.coordinator = hello.coordinator
            $0.replaces = hello.replaces
            if let job = hello.job { $0.job = try self.job(job) }
            $0.record = try arena.text(hello.record, "record", limit: Bound.recordBytes)
            if let vote = hello.vote { $0.vote = try ballotVote(vote) }
            $0.zone = try arena.text(hello.zone, "zone")
        }
    }

    func welcome(_ welcome: Welcome) throws -> UnsafeMutablePointer<Partialfc__Welcome> {
        try arena.make(partialfc__welcome__init) {
            $0.protocol_version = try Field.small(welcome.protocolVersion, "protocol_version")
            $0.cluster_id = try arena.text(welcome.clusterID, "cluster_id")
            $0.member = try member(welcome.member)
            $0.configuration = try arena.text(
                welcome.configuration, "configuration", limit: Bound.configurationBytes)
            $0.configuration_hash = try arena.text(welcome.configurationHash, "configuration_hash")
            $0.heartbeat_milliseconds = try Field.small(welcome.heartbeatMilliseconds, "heartbeat_milliseconds")
            $0.lease_milliseconds = try Field.small(welcome.leaseMilliseconds, "lease_milliseconds")
            $0.committed = try Field.orNone(welcome.committed, "committed")
            $0.checkpoint = try arena.text(welcome.checkpoint, "checkpoint", limit: Bound.textBytes)
            $0.answers_queries = welcome.answersQueries ? 1 : 0
        }
    }

    func refused(_ code: RefusalCode, _ message: String) throws -> UnsafeMutablePointer<Partialfc__Refused> {
        try arena.make(partialfc__refused__init) {
            $0.code = UInt32(code.rawValue)
            $0.message = try arena.prose(message, "message")
        }
    }

    func heartbeat(_ heartbeat: Heartbeat) throws -> UnsafeMutablePointer<Partialfc__Heartbeat> {
        try arena.make(partialfc__heartbeat__init) {
            $0.member = try member(heartbeat.member)
            $0.incarnation = heartbeat.incarnation
            $0.n_statistics = heartbeat.statistics.count
            $0.statistics = try numbers(heartbeat.statistics, "statistics")
            $0.n_notes = heartbeat.notes.count
            $0.notes = try texts(heartbeat.notes, "notes")
            if let report = heartbeat.report { $0.report = try shardReport(report) }
            $0.term = try Field.number(heartbeat.term, "term")
            $0.coordinator = heartbeat.coordinator
            if let activity = heartbeat.activity { $0.activity = try workerActivity(activity) }
            $0.record = heartbeat.record
            if let vote = heartbeat.vote { $0.vote = try ballotVote(vote) }
        }
    }

    func heartbeatReply(_ reply: HeartbeatReply) throws -> UnsafeMutablePointer<Partialfc__HeartbeatReply> {
        try arena.make(partialfc__heartbeat_reply__init) {
            $0.committed = try Field.orNone(reply.committed, "committed")
            $0.map_version = try Field.number(reply.mapVersion, "map_version")
            $0.state = try arena.prose(reply.state, "state")
            if let record = reply.record { $0.record = try recordCopy(record) }
            if let question = reply.question { $0.question = try ballotQuestion(question) }
        }
    }

    private func recordCopy(_ copy: RecordCopy) throws -> UnsafeMutablePointer<Partialfc__RecordCopy> {
        try arena.make(partialfc__record_copy__init) {
            $0.id = copy.id
            $0.class_version = try Field.number(copy.classVersion, "class_version")
            $0.text = try arena.text(copy.text, "text", limit: Bound.recordBytes)
        }
    }

    func ready(_ ready: Ready) throws -> UnsafeMutablePointer<Partialfc__Ready> {
        try arena.make(partialfc__ready__init) {
            $0.member = try member(ready.member)
            $0.incarnation = ready.incarnation
            if let held = ready.held { $0.held = try step(held) }
        }
    }

    func evaluation(_ evaluation: Evaluation) throws -> UnsafeMutablePointer<Partialfc__Evaluation> {
        try arena.make(partialfc__evaluation__init) {
            $0.member = try member(evaluation.member)
            $0.incarnation = evaluation.incarnation
            $0.step = try Field.number(evaluation.step, "step")
            $0.name = try arena.text(evaluation.name, "name")
            $0.n_values = evaluation.values.count
            $0.values = try numbers(evaluation.values, "values")
            $0.problem = try arena.prose(evaluation.problem, "problem")
        }
    }

    func resultsDone(_ done: ResultsDone) throws -> UnsafeMutablePointer<Partialfc__ResultsDone> {
        try arena.make(partialfc__results_done__init) {
            $0.member = try member(done.member)
            $0.incarnation = done.incarnation
            $0.id = try step(done.id)
            $0.problem = try arena.prose(done.problem, "problem")
            $0.n_evaluations = try Field.count(done.evaluations.count, "evaluations", limit: Bound.entries)
            $0.evaluations = arena.messages(
                try done.evaluations.sorted { $0.key < $1.key }.map { name, values in
                    try arena.make(partialfc__results_done__set__init) {
                        $0.name = try arena.text(name, "name")
                        $0.n_values = values.count
                        $0.values = try numbers(values, "values")
                    }
                })
        }
    }

    func leave(_ leave: Leave) throws -> UnsafeMutablePointer<Partialfc__Leave> {
        try arena.make(partialfc__leave__init) {
            $0.member = try member(leave.member)
            $0.incarnation = leave.incarnation
            $0.reason = try arena.prose(leave.reason, "reason")
            $0.exit_code = try Field.small(leave.exitCode, "exit_code", limit: 255)
        }
    }

    func member(_ member: MemberID) throws -> UnsafeMutablePointer<Partialfc__Member> {
        try arena.make(partialfc__member__init) {
            $0.role = UInt32(member.role.rawValue)
            $0.number = try Field.small(member.number, "number of a member")
        }
    }

    /// Sorted by name, so that equal messages have equal bytes.
    func numbers(
        _ numbers: [String: Double], _ field: String
    ) throws -> UnsafeMutablePointer<UnsafeMutablePointer<Partialfc__NamedNumber>?>? {
        _ = try Field.count(numbers.count, field, limit: Bound.entries)
        return arena.messages(
            try numbers.sorted { $0.key < $1.key }.map { name, value in
                try arena.make(partialfc__named_number__init) {
                    $0.name = try arena.text(name, "a name in \(field)")
                    $0.value = value
                }
            })
    }

    func texts(
        _ texts: [String: String], _ field: String
    ) throws -> UnsafeMutablePointer<UnsafeMutablePointer<Partialfc__NamedText>?>? {
        _ = try Field.count(texts.count, field, limit: Bound.entries)
        return arena.messages(
            try texts.sorted { $0.key < $1.key }.map { name, value in
                try arena.make(partialfc__named_text__init) {
                    $0.name = try arena.text(name, "a name in \(field)")
                    $0.value = try arena.text(value, "\(name) in \(field)", limit: Bound.textBytes)
                }
            })
    }
}
