"""Google's wire: the Gemini API, and Gemini on Vertex AI."""
