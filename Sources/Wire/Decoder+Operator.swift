internal import CWire

extension Decoder {
    static func operatorRequest(_ c: Partialfc__OperatorRequest) throws -> OperatorRequest {
        OperatorRequest(
            command: try text(c.command, "command"), arguments: try texts(c.arguments, c.n_arguments, "arguments"))
    }

    static func operatorReply(_ c: Partialfc__OperatorReply) throws -> OperatorReply {
        OperatorReply(
            exitCode: try Field.number(c.exit_code, "exit_code", limit: 255),
            json: try text(c.json, "json", limit: Bound.jsonBytes))
    }

    static func sliceHashes(_ c: Partialfc__SliceHashes) throws -> SliceHashes {
        var slices: [Int: String] = [:]
        for entry in try entries(c.slices, c.n_slices, "slices", limit: Bound.hashes) {
            let slice: Int = try Field.number(entry.slice, "slice")
            guard slices.updateValue(try text(entry.hash, "hash"), forKey: slice) == nil else {
                throw WireError(.field, "slice \(slice) occurs twice")
            }
        }
        return SliceHashes(
            step: try Field.orNone(c.step, "step"), slices: slices, dense: try text(c.dense_hash, "dense_hash"))
    }
}
