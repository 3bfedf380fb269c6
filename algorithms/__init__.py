"""The Processing algorithms: parameters in, a plan to the engine, a layer out."""
