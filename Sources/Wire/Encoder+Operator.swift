internal import CWire
internal import Cluster

extension Encoder {
    func operatorRequest(_ request: OperatorRequest) throws -> UnsafeMutablePointer<Partialfc__OperatorRequest> {
        try arena.make(partialfc__operator_request__init) {
            $0.command = try arena.text(request.command, "command")
            $0.n_arguments = request.arguments.count
            $0.arguments = try texts(request.arguments, "arguments")
        }
    }

    func operatorReply(_ reply: OperatorReply) throws -> UnsafeMutablePointer<Partialfc__OperatorReply> {
        try arena.make(partialfc__operator_reply__init) {
            $0.exit_code = try Field.small(reply.exitCode, "exit_code", limit: 255)
            $0.json = try arena.text(reply.json, "json", limit: Bound.jsonBytes)
        }
    }

    func sliceHashes(_ hashes: SliceHashes) throws -> UnsafeMutablePointer<Partialfc__SliceHashes> {
        try arena.make(partialfc__slice_hashes__init) {
            $0.step = try Field.orNone(hashes.step, "step")
            $0.n_slices = try Field.count(hashes.slices.count, "slices", limit: Bound.slices)
            $0.slices = try hashList(hashes.slices)
            $0.n_dense_slices = try Field.count(hashes.denseSlices.count, "dense_slices", limit: Bound.slices)
            $0.dense_slices = try hashList(hashes.denseSlices)
        }
    }

    func classes(_ list: ClassList) throws -> UnsafeMutablePointer<Partialfc__Classes> {
        try arena.make(partialfc__classes__init) {
            $0.version = try Field.number(list.version, "version")
            $0.operations = try arena.text(list.operations, "operations", limit: Bound.jsonBytes)
        }
    }

    private func hashList(
        _ hashes: [Int: String]
    ) throws -> UnsafeMutablePointer<UnsafeMutablePointer<Partialfc__SliceHashes__Slice>?>? {
        arena.messages(
            try hashes.sorted { $0.key < $1.key }.map { slice, hash in
                try arena.make(partialfc__slice_hashes__slice__init) {
                    $0.slice = try Field.small(slice, "slice")
                    $0.hash = try arena.text(hash, "hash")
                }
            })
    }
}
