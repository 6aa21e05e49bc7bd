import Wire

extension OperatorReply {
    /// What an operator's command prints.
    init(_ value: some Encodable) {
        guard let data = try? StatusJSON.encode(value) else {
            self.init(exitCode: 70, json: #"{"error":"the answer cannot be encoded"}"#)
            return
        }
        self.init(exitCode: 0, json: String(decoding: data, as: UTF8.self))
    }

    /// Why a coordinator does not do what it was told.
    init(refusing reason: String, exitCode: Int) {
        self.init(exitCode: exitCode, json: OperatorReply(OperatorError(error: reason)).json)
    }
}
