internal import CWire
internal import Cluster

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
        func hashes(_ list: [Partialfc__SliceHashes__Slice], _ name: String) throws -> [Int: String] {
            var hashes: [Int: String] = [:]
            for entry in list {
                let slice: Int = try Field.number(entry.slice, name)
                guard hashes.updateValue(try text(entry.hash, "hash"), forKey: slice) == nil else {
                    throw WireError(.field, "\(name) \(slice) occurs twice")
                }
            }
            return hashes
        }
        return SliceHashes(
            step: try Field.orNone(c.step, "step"),
            slices: try hashes(entries(c.slices, c.n_slices, "slices", limit: Bound.slices), "slice"),
            denseSlices: try hashes(
                entries(c.dense_slices, c.n_dense_slices, "dense_slices", limit: Bound.slices), "dense slice"))
    }

    static func classes(_ c: Partialfc__Classes) throws -> ClassList {
        ClassList(
            version: try Field.number(c.version, "version"),
            operations: try text(c.operations, "operations", limit: Bound.jsonBytes))
    }
}
