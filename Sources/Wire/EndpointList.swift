import NetworkAddress

/// Servers of which one serves at a time: their endpoints with commas between them.
struct EndpointList {
    /// One of them, and as it was written, for messages.
    struct Entry {
        var address: Endpoint
        var text: String
    }

    let endpoints: [Entry]

    /// - Throws: `WireError` that says what to write instead.
    init(checked text: String) throws(WireError) {
        var endpoints: [Entry] = []
        for part in Endpoint.each(of: text) {
            endpoints.append(Entry(address: try Endpoint(checked: part, to: .connect), text: part))
        }
        self.endpoints = endpoints
    }
}
