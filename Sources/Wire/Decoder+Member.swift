internal import CWire
internal import Cluster
internal import StepProtocol

extension Decoder {
    static func hello(_ c: Partialfc__Hello) throws -> Hello {
        // A hello of another version is answered with both versions, so no more of it is read than never changes.
        var hello = Hello(
            role: try Field.value(MemberRole.self, c.role, "role"), incarnation: c.incarnation)
        hello.protocolVersion = try Field.number(c.protocol_version, "protocol_version")
        hello.clusterID = try text(c.cluster_id, "cluster_id")
        guard hello.protocolVersion == wireProtocolVersion else { return hello }
        hello.name = try text(c.name, "name")
        hello.endpoint = try text(c.endpoint, "endpoint")
        hello.embeddingSize = try Field.number(c.embedding_size, "embedding_size")
        hello.classCount = try Field.number(c.class_count, "class_count")
        hello.configurationHash = try text(c.configuration_hash, "configuration_hash")
        hello.instructionSet = try text(c.instruction_set, "instruction_set")
        hello.threads = try Field.number(c.threads, "threads")
        hello.processID = try Field.number(c.process_id, "process_id", limit: Bound.processID)
        hello.host = try text(c.host, "host")
        hello.previousNumber = try Field.orNone(c.previous_number, "previous_number")
        guard hello.previousNumber < MemberID.numberLimit else {
            throw WireError(
                .field, "previous_number is \(hello.previousNumber), not below \(MemberID.numberLimit)")
        }
        hello.state = try c.state.map { try shardState($0.pointee) }
        hello.writesResults = c.writes_results != 0
        hello.term = try Field.number(c.term, "term")
        hello.coordinator = c.coordinator
        hello.replaces = c.replaces
        hello.job = try c.job.map { try job($0.pointee) }
        hello.record = try text(c.record, "record", limit: Bound.recordBytes)
        hello.vote = try c.vote.map { try ballotVote($0.pointee) }
        hello.zone = try text(c.zone, "zone")
        return hello
    }

    static func welcome(_ c: Partialfc__Welcome) throws -> Welcome {
        var welcome = Welcome(clusterID: try text(c.cluster_id, "cluster_id"), member: try member(c.member))
        welcome.protocolVersion = try Field.number(c.protocol_version, "protocol_version")
        welcome.configuration = try text(c.configuration, "configuration", limit: Bound.configurationBytes)
        welcome.configurationHash = try text(c.configuration_hash, "configuration_hash")
        welcome.heartbeatMilliseconds = try Field.number(c.heartbeat_milliseconds, "heartbeat_milliseconds")
        welcome.leaseMilliseconds = try Field.number(c.lease_milliseconds, "lease_milliseconds")
        welcome.committed = try Field.orNone(c.committed, "committed")
        welcome.checkpoint = try text(c.checkpoint, "checkpoint", limit: Bound.textBytes)
        welcome.answersQueries = c.answers_queries != 0
        return welcome
    }

    static func refusal(_ c: Partialfc__Refused) throws -> Refusal {
        Refusal(
            try Field.value(RefusalCode.self, c.code, "code"),
            try text(c.message, "message", limit: Bound.textBytes))
    }

    static func heartbeat(_ c: Partialfc__Heartbeat) throws -> Heartbeat {
        Heartbeat(
            member: try member(c.member), incarnation: c.incarnation,
            statistics: try numbers(c.statistics, c.n_statistics, "statistics"),
            notes: try texts(c.notes, c.n_notes, "notes"), report: try c.report.map { try shardReport($0.pointee) },
            activity: try c.activity.map { try workerActivity($0.pointee) },
            term: try Field.number(c.term, "term"), coordinator: c.coordinator, record: c.record,
            vote: try c.vote.map { try ballotVote($0.pointee) })
    }

    static func heartbeatReply(_ c: Partialfc__HeartbeatReply) throws -> HeartbeatReply {
        HeartbeatReply(
            committed: try Field.orNone(c.committed, "committed"),
            mapVersion: try Field.number(c.map_version, "map_version"),
            state: try text(c.state, "state", limit: Bound.textBytes),
            record: try c.record.map { record in
                RecordCopy(
                    id: record.pointee.id,
                    classVersion: try Field.number(record.pointee.class_version, "class_version"),
                    text: try text(record.pointee.text, "text", limit: Bound.recordBytes))
            }, question: try c.question.map { try ballotQuestion($0.pointee) })
    }

    static func ready(_ c: Partialfc__Ready) throws -> Ready {
        Ready(
            member: try member(c.member), incarnation: c.incarnation, held: c.held == nil ? nil : try step(c.held))
    }

    static func evaluation(_ c: Partialfc__Evaluation) throws -> Evaluation {
        Evaluation(
            member: try member(c.member), incarnation: c.incarnation, step: try Field.number(c.step, "step"),
            name: try text(c.name, "name"), values: try numbers(c.values, c.n_values, "values"),
            problem: try text(c.problem, "problem", limit: Bound.textBytes))
    }

    static func resultsDone(_ c: Partialfc__ResultsDone) throws -> ResultsDone {
        var evaluations: [String: [String: Double]] = [:]
        for set in try entries(c.evaluations, c.n_evaluations, "evaluations", limit: Bound.entries) {
            let name = try text(set.name, "name")
            let values = try numbers(set.values, set.n_values, "values")
            guard evaluations.updateValue(values, forKey: name) == nil else { throw twice(name, "evaluations") }
        }
        return ResultsDone(
            member: try member(c.member), incarnation: c.incarnation, id: try step(c.id),
            problem: try text(c.problem, "problem", limit: Bound.textBytes), evaluations: evaluations)
    }

    static func leave(_ c: Partialfc__Leave) throws -> Leave {
        Leave(
            member: try member(c.member), incarnation: c.incarnation,
            reason: try text(c.reason, "reason", limit: Bound.textBytes),
            exitCode: try Field.number(c.exit_code, "exit_code", limit: 255))
    }

    static func member(_ pointer: UnsafeMutablePointer<Partialfc__Member>?) throws -> MemberID {
        let c = try Field.required(pointer, "member")
        return MemberID(
            try Field.value(MemberRole.self, c.role, "role"), try Field.number(c.number, "number of a member"))
    }

    static func numbers(
        _ c: UnsafeMutablePointer<UnsafeMutablePointer<Partialfc__NamedNumber>?>?, _ count: Int, _ field: String
    ) throws -> [String: Double] {
        var numbers: [String: Double] = [:]
        for entry in try entries(c, count, field, limit: Bound.entries) {
            let name = try text(entry.name, "a name in \(field)")
            guard numbers.updateValue(entry.value, forKey: name) == nil else { throw twice(name, field) }
        }
        return numbers
    }

    static func texts(
        _ c: UnsafeMutablePointer<UnsafeMutablePointer<Partialfc__NamedText>?>?, _ count: Int, _ field: String
    ) throws -> [String: String] {
        var texts: [String: String] = [:]
        for entry in try entries(c, count, field, limit: Bound.entries) {
            let name = try text(entry.name, "a name in \(field)")
            let value = try text(entry.value, "\(name) in \(field)", limit: Bound.textBytes)
            guard texts.updateValue(value, forKey: name) == nil else { throw twice(name, field) }
        }
        return texts
    }

    /// The messages of a repeated field.
    static func entries<M>(
        _ c: UnsafeMutablePointer<UnsafeMutablePointer<M>?>?, _ count: Int, _ field: String, limit: Int
    ) throws -> [M] {
        let count = try Field.count(count, field, limit: limit)
        guard count > 0, let c else { return [] }
        return try (0..<count).map { try Field.required(c[$0], "an entry of \(field)") }
    }

    private static func twice(_ name: String, _ field: String) -> WireError {
        WireError(.text, "\"\(name)\" occurs twice in \(field)")
    }
}
