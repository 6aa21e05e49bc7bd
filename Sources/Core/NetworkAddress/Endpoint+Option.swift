extension Endpoint {
    /// Checks the text of an option.
    ///
    /// - Throws: `AddressError` that names the option and says what to write instead.
    public static func check(_ option: String, _ text: String, to use: Use) throws(AddressError) {
        do throws(AddressError) {
            let endpoint = try Endpoint(text, to: use)
            if use == .listen, let problem = endpoint.listeningProblem { throw problem }
        } catch { throw AddressError("\(option) \(error.text)", error.problem) }
    }

    /// The endpoints, as they are written, of a text that names one or several with commas between them.
    public static func each(of list: String) -> [String] {
        list.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    }

    /// Checks the text of an option that names one endpoint, or several with commas between them.
    ///
    /// - Throws: `AddressError` that names the option and says what to write instead.
    public static func check(_ option: String, eachOf text: String, to use: Use) throws(AddressError) {
        for endpoint in each(of: text) { try check(option, endpoint, to: use) }
    }

    /// What is wrong with the text of an option, nil if nothing is.
    public static func problem(of option: String, _ text: String, to use: Use) -> String? {
        do { try check(option, text, to: use) } catch { return "\(error)" }
        return nil
    }
}

extension AdvertisedAddress {
    /// Reads the text of an option.
    ///
    /// - Throws: `AddressError` that names the option and says what to write instead.
    public init(option: String, _ text: String) throws(AddressError) {
        do { try self.init(text) } catch { throw AddressError("\(option) \(error.text)", error.problem) }
    }
}
