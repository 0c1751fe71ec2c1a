"""primer"""
