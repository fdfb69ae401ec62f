"""The verbs in the shapes of other libraries: Service, IDCClient, asyncio."""
