import NetworkAddress

extension Endpoint {
    /// Reads an endpoint.
    ///
    /// - Throws: `WireError` that says what to write instead.
    init(checked text: String, to use: Use) throws(WireError) {
        do { self = try Endpoint(text, to: use) } catch { throw WireError(.system, "\(error)") }
    }
}
